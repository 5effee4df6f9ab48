#include "core/caching_allocator.hpp"
#include "experiments/commands/command.hpp"

int main(int argc, char** argv) {
  blockwise::install_caching_allocator();
  return blockwise::run_program(argc, argv);
}
