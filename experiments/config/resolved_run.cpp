#include "experiments/config/resolved_run.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/config/spelling.hpp"

namespace blockwise {
namespace {

void resolve_batch(TrainerConfig& trainer, std::int64_t sequence_length) {
  const auto micro = checked_product("trainer.micro_batch_size x sequence_length",
                                     {trainer.micro_batch_size, sequence_length});
  if (trainer.global_batch_tokens == 0) trainer.global_batch_tokens = micro;
  require_input(trainer.global_batch_tokens % micro == 0,
                "trainer.global_batch_tokens is {}, not a multiple of micro_batch_size {} x "
                "sequence_length {} = {}",
                trainer.global_batch_tokens, trainer.micro_batch_size, sequence_length, micro);
  require_input(trainer.gradients == "kept" || trainer.global_batch_tokens == micro,
                "trainer.gradients is released: each backward pass is a step, and "
                "trainer.global_batch_tokens {} is more than the {} of one; a larger "
                "micro_batch_size, or gradients: kept",
                trainer.global_batch_tokens, micro);
  checked_product("trainer.steps x trainer.global_batch_tokens",
                  {trainer.steps, trainer.global_batch_tokens});
}

// Names are known once the model has its sizes.
void check_tensor_names(const TrainerConfig& trainer, const ParameterLayout& layout) {
  std::vector<std::string> names;
  for (const auto& parameter : layout.parameters()) names.push_back(parameter.name);
  for (const auto& name : trainer.float32_tensors) {
    require_input(std::ranges::count(names, name) > 0,
                  "trainer.float32_tensors: the model has no parameter '{}'{}", name,
                  did_you_mean(name, names));
  }
}

}  // namespace

ResolvedRun resolve(RunConfig config) {
  auto data = open_data(config);
  resolve_batch(config.trainer, data->shape().sequence_length);
  auto layout = config.model.spec->layout();
  check_tensor_names(config.trainer, layout);
  auto hash = config_hash(config);
  return {std::move(config), std::move(hash), std::move(data), std::move(layout)};
}

}  // namespace blockwise
