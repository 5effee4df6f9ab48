#include "core/dataset.hpp"

#include "core/error.hpp"

namespace blockwise {

#define BLOCKWISE_DATASET(name, maker) std::unique_ptr<DatasetSpec> maker();
#include "core/data/registry.inc"
#undef BLOCKWISE_DATASET

const std::vector<DatasetKind>& dataset_kinds() {
  static const std::vector<DatasetKind> kinds = {
#define BLOCKWISE_DATASET(name, maker) {name, maker},
#include "core/data/registry.inc"
#undef BLOCKWISE_DATASET
  };
  return kinds;
}

std::unique_ptr<DatasetSpec> make_dataset_spec(const std::string& kind) {
  for (const auto& candidate : dataset_kinds()) {
    if (candidate.name == kind) return candidate.make();
  }
  throw InputError(fmt::format("unknown data set '{}'", kind));
}

}  // namespace blockwise
