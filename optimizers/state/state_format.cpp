#include "optimizers/state/state_format.hpp"

namespace blockwise {

void StateFormat::visit(FieldVisitor& v) {
  v.choice({"first_moments",
            "averages of gradients: fp32; bf16 with stochastic rounding, 2 bytes per value; "
            "dynamic_8bit (bitsandbytes' map), 1.016; companded_8bit, 1.063; dynamic_4bit, 0.531"},
           first_moments, state_codec_names());
  v.choice({"second_moments", "averages of squared gradients; the same"}, second_moments,
           state_codec_names());
  v.integer({"smallest", "a tensor of state with fewer values stays fp32"}, smallest,
            {1, std::int64_t{1} << 40});
}

std::shared_ptr<const StateCodec> StateFormat::codec(const StateSpec& spec) const {
  if (spec.type != at::kFloat || spec.size() < smallest) return nullptr;
  const bool first = spec.use == StateUse::average;
  return make_state_codec(first ? first_moments : second_moments, spec.use);
}

}  // namespace blockwise
