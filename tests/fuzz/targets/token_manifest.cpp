// manifest.json beside token files.
#include "core/data/token_file.hpp"
#include "experiments/text/token_evaluation.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  folder.write("manifest.json", bytes);
  const auto tokens = folder.path() / "train.bin";
  fuzz::accepts([&] { read_token_manifest(tokens); });
  text_bytes({tokens});
}
