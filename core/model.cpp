#include "core/model.hpp"

#include <ATen/ATen.h>

#include "core/error.hpp"

namespace blockwise {

#define BLOCKWISE_MODEL(name, maker) std::unique_ptr<ModelSpec> maker();
#include "core/models/registry.inc"
#undef BLOCKWISE_MODEL

at::Tensor Model::loss(const Batch& batch, ForwardContext& context) const {
  const auto scores = logits(batch.inputs, context);
  return at::cross_entropy_loss(scores.reshape({-1, scores.size(-1)}), batch.targets.reshape({-1}),
                                {}, at::Reduction::Mean, kIgnoredTarget);
}

const std::vector<ModelFamily>& model_families() {
  static const std::vector<ModelFamily> families = {
#define BLOCKWISE_MODEL(name, maker) {name, maker},
#include "core/models/registry.inc"
#undef BLOCKWISE_MODEL
  };
  return families;
}

std::unique_ptr<ModelSpec> make_model_spec(const std::string& family) {
  for (const auto& candidate : model_families()) {
    if (candidate.name == family) return candidate.make();
  }
  throw InputError(fmt::format("unknown model family '{}'", family));
}

}  // namespace blockwise
