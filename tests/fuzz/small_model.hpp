// The model that files of partitions, rates and weights are read for.
#pragma once

#include "core/model.hpp"
#include "tests/support/set_fields.hpp"

namespace blockwise::fuzz {

inline std::unique_ptr<ModelSpec> small_model() {
  return testing::model_spec(
      "gpt2",
      {{"vocab_size", 11}, {"block_size", 6}, {"n_layer", 1}, {"n_head", 2}, {"n_embd", 4}});
}

}  // namespace blockwise::fuzz
