// How the process of a member comes to be.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace blockwise {

class MemberStarter {
 public:
  virtual ~MemberStarter() = default;

  // A process of the program with these words behind its name. Its standard output goes to
  // `output`, its standard error to `log`, both of this process. Throws std::runtime_error where it
  // cannot be started.
  virtual pid_t start(const std::vector<std::string>& words, int output, int log) = 0;
  // Its status once it has ended, as waitpid() says it. Once for each that was started.
  virtual int wait(pid_t process) = 0;
};

}  // namespace blockwise
