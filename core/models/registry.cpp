#include "core/model.hpp"

namespace blockwise {

#define BLOCKWISE_MODEL(name, maker) std::unique_ptr<ModelSpec> maker();
#include "core/models/registry.inc"
#undef BLOCKWISE_MODEL

const Registry<ModelSpec>& model_families() {
#define BLOCKWISE_MODEL(name, maker) {name, maker},
  static const Registry<ModelSpec> families("model family", {
#include "core/models/registry.inc"
                                                            });
#undef BLOCKWISE_MODEL
  return families;
}

}  // namespace blockwise
