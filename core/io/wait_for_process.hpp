// The end of a child process, whatever signals come while it is waited for.
#pragma once

#include <sys/wait.h>

#include <cerrno>

namespace blockwise {

// Its status, as waitpid() gives it; 0 where there is no such child.
inline int wait_for(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace blockwise
