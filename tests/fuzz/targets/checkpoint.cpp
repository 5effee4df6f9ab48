// checkpoint.json beside whole files: loaded to go on, and for its parameters alone.
#include <memory>

#include "experiments/records/checkpoint.hpp"
#include "tests/fuzz/small_model.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

namespace {

// A run with one checkpoint, of step 3.
struct Run {
  fuzz::InputFolder folder;
  ParameterStore store{fuzz::small_model()->layout(), at::kCPU};
  std::unique_ptr<Optimizer> optimizer;

  Run() {
    OptimizerConfig config;
    testing::set_fields(config, {{"rule", "adamw"}, {"learning_rate", 1e-3}});
    optimizer = std::make_unique<Optimizer>(config, store);
    const RunIdentity identity{"", "0123456789abcdef", {}, false};
    const auto model = fuzz::small_model();
    write_checkpoint(folder.path(), 3, {.newest = 1},
                     {identity, *model, "", store.layout(), optimizer->partition(),
                      parameter_tensors(store), state_tensors(*optimizer)});
  }
};

}  // namespace

FUZZ_TARGET(bytes) {
  static Run run;
  const auto checkpoint = checkpoint_folder(run.folder.path(), 3);
  run.folder.write("checkpoints/step_00000003/checkpoint.json", bytes);
  fuzz::accepts([&] { load_parameters(checkpoint, run.store); });
  fuzz::accepts([&] { checkpoint_model(checkpoint); });
  load_checkpoint(checkpoint, 3, {"0123456789abcdef"}, run.store,
                  [](auto steps, const auto& state) { run.optimizer->load_state(steps, state); });
}
