// A model file of llm.c: its sizes, and the weights where they are few.
#include "core/pretrained/llm_c.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  const auto path = folder.write("model.bin", bytes);
  const auto layout = read_llm_c_config(path)->layout();
  if (layout.size() > 1 << 20) return;
  ParameterStore store(layout, at::kCPU);
  read_llm_c_weights(path, store);
}
