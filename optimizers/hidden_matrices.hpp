// The default of rules of whole matrices: what they leave to another rule.
#pragma once

#include "optimizers/rule_spec.hpp"

namespace blockwise {

// AdamW for vocabulary and position tables, the head, and all that is no matrix.
inline FallbackRule beside_hidden_matrices() {
  return {.roles = {"token_embedding", "position_embedding", "lm_head", "norm", "bias"}};
}

}  // namespace blockwise
