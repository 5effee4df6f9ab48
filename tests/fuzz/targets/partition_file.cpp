// A partition file, and a step of the rule that it is for: its sizes must be those of the state.
#include <memory>

#include "core/partition/partition_file.hpp"
#include "optimizers/optimizer.hpp"
#include "tests/fuzz/small_model.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

namespace {

const fuzz::InputFolder& folder() {
  static const fuzz::InputFolder folder;
  return folder;
}

OptimizerConfig adam_mini(const std::string& partition) {
  OptimizerConfig config;
  config.rule = "adam_mini";
  testing::set_fields(
      config,
      {{"rule", "adam_mini"}, {"learning_rate", 1e-3}, {"partition", {{"file", partition}}}});
  return config;
}

}  // namespace

FUZZ_TARGET(bytes) {
  const auto path = folder().write("partition.yaml", bytes);
  const auto layout = fuzz::small_model()->layout();
  const auto file = read_partition(path, layout);
  const auto text = partition_text(layout, file);
  const auto again = read_partition(folder().write("again.yaml", text), layout);
  check_equal(again.hash, file.hash, "the hash of what was written");
  ParameterStore store(layout, at::kCPU);
  store.gradients().fill_(0.5);
  Optimizer optimizer(adam_mini(path.string()), store);
  optimizer.step(1e-3);
}
