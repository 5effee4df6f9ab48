#include "experiments/sweeps/spawned_members.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "core/io/wait_for_process.hpp"

extern char** environ;

namespace blockwise {

pid_t SpawnedMembers::start(const std::vector<std::string>& words, int output, int log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
  auto copy = words;
  std::vector<char*> arguments = {program_.data()};
  for (auto& word : copy) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t process = -1;
  const int error =
      posix_spawn(&process, program_.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return process;
  throw std::runtime_error(fmt::format("{} cannot be started: {}", program_, std::strerror(error)));
}

int SpawnedMembers::wait(pid_t process) { return wait_for(process); }

}  // namespace blockwise
