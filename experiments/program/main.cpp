#include "core/memory/caching_allocator.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/program/file_size_limit.hpp"
#include "experiments/program/standard_streams.hpp"

int main(int argc, char** argv) {
  blockwise::open_standard_streams();
  blockwise::report_file_size_limit();
  blockwise::install_caching_allocator();
  return blockwise::run_program(argc, argv);
}
