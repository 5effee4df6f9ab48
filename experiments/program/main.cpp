// Help, the version and words that do not fit are answered here, without LibTorch; for all else the
// library that has it is loaded, and reads the words again.
#include "experiments/command_line/command_line.hpp"
#include "experiments/command_line/failure.hpp"
#include "experiments/program/file_size_limit.hpp"
#include "experiments/program/standard_streams.hpp"
#include "experiments/program/verbs_library.hpp"
#include "experiments/program/wait_policy.hpp"

int main(int argc, char** argv) {
  blockwise::open_standard_streams();
  blockwise::report_file_size_limit();
  blockwise::spin_briefly();
  return blockwise::explain_failures([&] {
    const bool answered = !blockwise::read_command_line(argc, argv);
    return answered ? 0 : blockwise::load_verbs()(argc, argv);
  });
}
