// The codec of 4 bits, which rank1_4bit takes for vectors.
#pragma once

#include "optimizers/state/state_codec.hpp"

namespace blockwise {

std::shared_ptr<const StateCodec> dynamic_4bit(const StateSpec& spec);

}  // namespace blockwise
