#include "optimizers/state/state_format.hpp"

#include <algorithm>

namespace blockwise {
namespace {

// "fp32; bf16: stochastic rounding, 2 bytes per value; ..." of what is made for the use.
std::string codecs_doc(StateUse use) {
  std::string text = "fp32";
  for (const auto& entry : state_codecs()) {
    const auto codec = entry.make();
    if (std::ranges::count(codec->moments, use) == 0) continue;
    text += fmt::format("; {}: {}", codec->name, codec->doc);
  }
  return text;
}

}  // namespace

void StateFormat::visit(FieldVisitor& v) {
  static const auto first_doc =
      fmt::format("averages of gradients: {}", codecs_doc(StateUse::average));
  static const auto second_doc =
      fmt::format("averages of squared gradients: {}", codecs_doc(StateUse::non_negative));
  v.choice({"first_moments", first_doc.c_str()}, first_moments,
           state_codec_names(StateUse::average));
  v.choice({"second_moments", second_doc.c_str()}, second_moments,
           state_codec_names(StateUse::non_negative));
  v.integer({"smallest", "a tensor of state with fewer values stays fp32"}, smallest,
            {1, std::int64_t{1} << 40});
  v.integer(
      {"resident_mb",
       "MiB of state in memory at most, the rest is in a file and read ahead; 0: all of it is "
       "in memory"},
      resident_mb, {0, std::int64_t{1} << 30});
  v.text({"folder", "of that file, on a disk; empty: the run's"}, folder);
}

std::shared_ptr<const StateCodec> StateFormat::codec(const StateSpec& spec) const {
  if (spec.type != at::kFloat || spec.size() < smallest || spec.is_chosen_later()) return nullptr;
  const bool first = spec.use == StateUse::average;
  return make_state_codec(first ? first_moments : second_moments, spec);
}

}  // namespace blockwise
