// libblockwise_verbs.so from outside.
#include "core/memory/caching_allocator.hpp"
#include "experiments/commands/command.hpp"

// The whole program for these words; returns the exit code. The process is prepared as main() does.
extern "C" [[gnu::visibility("default")]] int blockwise_run(int argc, char** argv) {
  blockwise::install_caching_allocator();
  return blockwise::run_program(argc, argv);
}
