#include "tests/support/program.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>

#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {
namespace {

std::string quoted(const std::string& word) {
  std::string text(1, '\'');
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  text += '\'';
  return text;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& prefix) {
  const TemporaryFolder folder;
  // `exec` is the shell's: after a program such as timeout it would be taken for another one.
  const bool whole = prefix.empty() || prefix.ends_with(';');
  std::string command = prefix + (whole ? " exec " : " ") + quoted(BLOCKWISE_PROGRAM);
  for (const auto& argument : arguments) command += ' ' + quoted(argument);
  command += " >" + quoted(folder / "out") + " 2>" + quoted(folder / "err") + " </dev/null";
  const auto start = std::chrono::steady_clock::now();
  const int status = std::system(command.c_str());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return {code, taken.count(), read(folder / "out"), read(folder / "err")};
}

std::vector<std::string> kills_during(double seconds, const std::vector<double>& shares) {
  std::vector<std::string> prefixes;
  for (const double share : shares) {
    prefixes.push_back("timeout -s KILL " + std::to_string(share * seconds));
  }
  return prefixes;
}

pid_t start_program(const std::vector<std::string>& arguments, const std::string& errors) {
  const pid_t process = ::fork();
  if (process != 0) return process;
  const int null = ::open("/dev/null", O_RDWR);
  for (const int stream : {0, 1}) ::dup2(null, stream);
  ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), 2);
  std::vector<char*> words;
  std::string program = BLOCKWISE_PROGRAM;
  words.push_back(program.data());
  auto copy = arguments;
  for (auto& argument : copy) words.push_back(argument.data());
  words.push_back(nullptr);
  ::execv(program.c_str(), words.data());
  ::_exit(127);
}

std::string program_path() { return BLOCKWISE_PROGRAM; }

}  // namespace blockwise::testing
