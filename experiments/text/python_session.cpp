#include "experiments/text/python_session.hpp"

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/error.hpp"
#include "core/io/wait_for_process.hpp"
#include "experiments/text/python.hpp"

extern char** environ;

namespace blockwise {

PythonSession::PythonSession(const std::vector<std::string>& arguments) : name_(arguments.at(0)) {
  auto words = python_command(arguments);
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  // A socket, as a pipe without a reader would end us with SIGPIPE.
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("no socket could be made");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int error =
      posix_spawnp(&process_, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  socket_ = ends[0];
  if (error == 0) return;
  ::close(socket_);
  throw std::runtime_error(
      fmt::format("{}: cannot be started: {}", words[0], std::strerror(error)));
}

PythonSession::~PythonSession() {
  ::close(socket_);
  if (process_ < 0) return;
  wait_for(process_);
}

std::string PythonSession::ask(const std::string& line) {
  send(line + '\n');
  std::array<char, 4096> buffer{};
  auto end = received_.find('\n');
  while (end == std::string::npos) {
    const auto count = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail();
    received_.append(buffer.data(), static_cast<std::size_t>(count));
    end = received_.find('\n');
  }
  auto answer = received_.substr(0, end);
  received_.erase(0, end + 1);
  return answer;
}

// What cannot be sent any more has a process that ended: the answer will say how.
void PythonSession::send(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const auto count = ::send(socket_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;
    done += static_cast<std::size_t>(count);
  }
}

void PythonSession::fail() {
  const int status = wait_for(process_);
  process_ = -1;
  require_input(!WIFEXITED(status) || WEXITSTATUS(status) != 2, "{} refused its input; see above",
                name_);
  throw std::runtime_error(name_ + " failed; see above");
}

}  // namespace blockwise
