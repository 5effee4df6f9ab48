#include "experiments/text/python.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "core/base/error.hpp"
#include "core/io/wait_for_process.hpp"
#include "experiments/build_info.hpp"

extern char** environ;

namespace blockwise {

extern const char kPythonPath[];

namespace {

namespace fs = std::filesystem;

// Of the environment; nothing where it is not there or empty.
std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == 0 ? std::nullopt : std::optional<std::string>(value);
}

std::string interpreter() { return variable("BLOCKWISE_PYTHON").value_or(kPython); }

// MARK=FOLDER, see cmake/python_path.cpp.in.
std::string recorded_modules() {
  const std::string_view recorded(static_cast<const char*>(kPythonPath));
  return std::string(recorded.substr(recorded.find('=') + 1));
}

std::string modules() {
  const auto folder = variable("BLOCKWISE_PYTHON_PATH").value_or(recorded_modules());
  std::error_code unknown;
  require_input(fs::exists(fs::path(folder) / "blockwise", unknown),
                "{}: no Python package blockwise there; BLOCKWISE_PYTHON_PATH names its folder",
                folder);
  return folder;
}

// A signal that asks for a stop must not cut the text or the wait short.
std::string read_all(int file) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::read(file, buffer.data(), buffer.size())) != 0;) {
    if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR) break;
  }
  ::close(file);
  return text;
}

// `-m` itself would look into the current folder before all others.
constexpr const char* kRunModule =
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)";

// Starts `words` with its standard output in the returned pipe.
std::pair<pid_t, int> start(std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe could be made");
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t process = -1;
  const int error =
      posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw std::runtime_error(
        fmt::format("{}: cannot be started: {}", words[0], std::strerror(error)));
  }
  return {process, ends[0]};
}

}  // namespace

std::vector<std::string> python_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {interpreter(), "-I", "-c", kRunModule, modules()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

std::string python_output(const std::vector<std::string>& arguments) {
  auto words = python_command(arguments);
  const auto [process, output] = start(words);
  auto text = read_all(output);
  const int status = wait_for(process);
  require_input(!WIFEXITED(status) || WEXITSTATUS(status) != 2, "{} refused its input; see above",
                arguments[0]);
  if (status != 0) throw std::runtime_error(arguments[0] + " failed; see above");
  return text;
}

}  // namespace blockwise
