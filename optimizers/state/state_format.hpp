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
  std::int64_t resident_mb = 0;         // bound on state in memory; 0: all of it is there
  std::string folder;  // of the file that holds all of it; empty: chosen by the caller

  void visit(FieldVisitor& v);
  bool is_fp32() const { return first_moments == "fp32" && second_moments == "fp32"; }
  // Whether state is in a file (paged_file.hpp), and how much of it may be in memory.
  bool is_paged() const { return resident_mb > 0; }
  std::int64_t resident_bytes() const { return resident_mb << 20; }
  // Null where such state stays in float32.
  std::shared_ptr<const StateCodec> codec(const StateSpec& spec) const;
};

}  // namespace blockwise
