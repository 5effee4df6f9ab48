#include "experiments/cluster/command_output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "core/io/wait_for_process.hpp"

extern char** environ;

namespace blockwise {
namespace {

// A file in memory: nobody has to read one end while the other is written.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("command", MFD_CLOEXEC)) {
    if (descriptor_ < 0) fail();
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }

  void fill(const std::string& text) {
    const auto count = ::write(descriptor_, text.data(), text.size());
    if (count != static_cast<ssize_t>(text.size())) fail();
    ::lseek(descriptor_, 0, SEEK_SET);
  }

  std::string text() const {
    std::string text(static_cast<std::size_t>(::lseek(descriptor_, 0, SEEK_END)), '\0');
    const auto count = ::pread(descriptor_, text.data(), text.size(), 0);
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return text;
  }

 private:
  [[noreturn]] static void fail() {
    throw std::runtime_error(fmt::format("no memory for a command: {}", std::strerror(errno)));
  }

  int descriptor_;
};

struct Streams {
  MemoryFile input, output, errors;
};

// 0, or why it could not be started.
int spawn_from_path(std::vector<std::string>& words, const Streams& streams, pid_t& process) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, streams.input.descriptor(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.output.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, streams.errors.descriptor(), STDERR_FILENO);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int error =
      ::posix_spawnp(&process, arguments.front(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

std::optional<CommandOutput> run_command(std::vector<std::string> words, const std::string& input) {
  Streams streams;
  streams.input.fill(input);
  pid_t process = -1;
  const int error = spawn_from_path(words, streams, process);
  if (error == ENOENT) return std::nullopt;
  if (error != 0) {
    throw std::runtime_error(
        fmt::format("{} cannot be started: {}", words.front(), std::strerror(error)));
  }
  const int status = wait_for(process);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return CommandOutput{code, streams.output.text(), streams.errors.text()};
}

}  // namespace blockwise
