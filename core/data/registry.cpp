#include "core/dataset.hpp"

namespace blockwise {

#define BLOCKWISE_DATASET(name, maker) std::unique_ptr<DatasetSpec> maker();
#include "core/data/registry.inc"
#undef BLOCKWISE_DATASET

const Registry<DatasetSpec>& dataset_kinds() {
#define BLOCKWISE_DATASET(name, maker) {name, maker},
  static const Registry<DatasetSpec> kinds("data set", {
#include "core/data/registry.inc"
                                                       });
#undef BLOCKWISE_DATASET
  return kinds;
}

}  // namespace blockwise
