#include "experiments/program/standard_streams.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>

namespace blockwise {

void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest free number is given, so this one.
    if (::open("/dev/null", O_RDWR) != stream) std::_Exit(1);
  }
}

}  // namespace blockwise
