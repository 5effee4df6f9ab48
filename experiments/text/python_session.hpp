// A module of our Python package that answers questions, line by line, as long as it is asked.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace blockwise {

class PythonSession {
 public:
  // Starts it; its standard input and output are this session, its errors go where ours go. Throws
  // std::runtime_error where it cannot be started.
  explicit PythonSession(const std::vector<std::string>& arguments);
  ~PythonSession();  // it sees the end of its input, and is waited for
  PythonSession(const PythonSession&) = delete;
  PythonSession& operator=(const PythonSession&) = delete;

  // One line to it, without line breaks inside, and the line that comes back. Throws InputError
  // where it has ended with exit code 2 (it has said why), std::runtime_error where it has ended
  // otherwise.
  std::string ask(const std::string& line);

 private:
  void send(const std::string& text);
  [[noreturn]] void fail();

  std::string name_;
  pid_t process_ = -1;
  int socket_ = -1;
  std::string received_;  // behind the last line
};

}  // namespace blockwise
