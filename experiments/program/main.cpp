#include "experiments/commands/command.hpp"

int main(int argc, char** argv) { return blockwise::run_program(argc, argv); }
