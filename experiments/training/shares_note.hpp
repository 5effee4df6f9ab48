// Who has what of an optimizer that processes share, for people.
#pragma once

#include <string>

#include "core/parallel/owners.hpp"
#include "optimizers/sharding/model_shard.hpp"

namespace blockwise {

// "the optimizer is in 2 shares of 50.3 and 49.7 % of the parameters; tensors that stay whole, by
// process: 3, 2". The second part where tensors of several rows stay whole, which then have one
// owner each: matrices of Muon, say. Of more than eight processes the least and the most.
std::string shares_note(const ParameterLayout& layout, const Owners& owners,
                        const RowsTogether& rows_together);

}  // namespace blockwise
