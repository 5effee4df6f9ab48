#include "experiments/program/file_size_limit.hpp"

#include <csignal>

namespace blockwise {

void report_file_size_limit() { std::signal(SIGXFSZ, SIG_IGN); }

}  // namespace blockwise
