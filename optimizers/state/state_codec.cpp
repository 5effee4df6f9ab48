#include "optimizers/state/state_codec.hpp"

#include <algorithm>

namespace blockwise {

#define BLOCKWISE_STATE_CODEC(name, maker) std::unique_ptr<StateCodecSpec> maker();
#include "optimizers/state/registry.inc"
#undef BLOCKWISE_STATE_CODEC

const Registry<StateCodecSpec>& state_codecs() {
#define BLOCKWISE_STATE_CODEC(name, maker) {name, maker},
  static const Registry<StateCodecSpec> codecs("format of state", {
#include "optimizers/state/registry.inc"
                                                                  });
#undef BLOCKWISE_STATE_CODEC
  return codecs;
}

std::vector<std::string> state_codec_names(StateUse use) {
  std::vector<std::string> names = {"fp32"};
  for (const auto& entry : state_codecs()) {
    if (std::ranges::count(entry.make()->moments, use) > 0) names.push_back(entry.name);
  }
  return names;
}

std::shared_ptr<const StateCodec> make_state_codec(const std::string& name, const StateSpec& spec) {
  if (name == "fp32") return nullptr;
  const auto codec = state_codecs().make(name);
  return std::ranges::count(codec->moments, spec.use) > 0 ? codec->make(spec) : nullptr;
}

}  // namespace blockwise
