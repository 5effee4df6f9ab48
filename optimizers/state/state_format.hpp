// The YAML section `optimizer.state`: in how many bytes which state is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/fields.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {

struct StateFormat {
  std::string first_moments = "fp32";   // StateUse::average
  std::string second_moments = "fp32";  // StateUse::non_negative
  std::int64_t smallest = 4096;         // values of a tensor of state that is not kept in float32

  void visit(FieldVisitor& v);
  bool is_fp32() const { return first_moments == "fp32" && second_moments == "fp32"; }
  // Null where such state stays in float32.
  std::shared_ptr<const StateCodec> codec(const StateSpec& spec) const;
};

}  // namespace blockwise
