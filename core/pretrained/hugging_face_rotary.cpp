#include "core/pretrained/hugging_face_rotary.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr double kDefaultTheta = 10000.0;
constexpr std::int64_t kLongest = 1 << 20;  // of what stretching alone may ask for

// Which of the two sections holds, by name; none: empty.
std::string rotary_section(const JsonConfig& c) {
  if (c.filled("rope_scaling")) return "rope_scaling";
  return c.filled("rope_parameters") ? "rope_parameters" : "";
}

// A key of another kind than the section's changes nothing and is no unknown key.
void note_known_keys(const JsonConfig& c) {
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    if (!c.filled(name)) continue;
    const auto rope = c.section(name);
    for (const auto* key :
         {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings",
          "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale",
          "mscale_all_dim", "attention_factor", "truncate", "partial_rotary_factor",
          "mrope_section", "short_factor", "long_factor", "finetuned"}) {
      rope.contains(key);
    }
  }
}

void refuse_lost_theta(const JsonConfig& c, const std::string& section, double theta) {
  if (section != "rope_scaling" || !c.filled("rope_parameters")) return;
  const auto replaced = c.section("rope_parameters").real("rope_theta", theta);
  if (replaced == theta) return;
  c.fail("rope_scaling",
         fmt::format("takes the place of 'rope_parameters' and with it of rope_theta {}; the base "
                     "would be {}: say 'rope_theta' in 'rope_scaling'",
                     replaced, theta));
}

std::string scaling_kind(const JsonConfig& rope) {
  const auto* key = rope.has("rope_type") || !rope.has("type") ? "rope_type" : "type";
  const auto kind = rope.text(key, "default");
  constexpr std::array kKnown = {"default", "linear", "llama3", "dynamic", "yarn"};
  if (std::find(kKnown.begin(), kKnown.end(), kind) == kKnown.end()) {
    rope.fail(key, fmt::format("is '{}', supported: {}", kind, fmt::join(kKnown, ", ")));
  }
  return kind;
}

// The trained context: beside the section, in it, or that of the model.
std::int64_t original_positions(const JsonConfig& c, const JsonConfig& rope,
                                std::int64_t otherwise) {
  const std::string key = "original_max_position_embeddings";
  if (c.has(key)) return c.positive(key);
  return rope.has(key) ? rope.positive(key) : otherwise;
}

void read_llama3(const JsonConfig& rope, RotaryScaling& s) {
  s.low_frequency_factor = rope.real("low_freq_factor");
  s.high_frequency_factor = rope.real("high_freq_factor");
}

double magnitude(double factor, double scale) {
  return factor <= 1.0 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
}

// transformers takes 0 and null for "not given".
double given(const JsonConfig& rope, const std::string& key, double otherwise) {
  const double value = rope.has(key) ? rope.real(key) : 0.0;
  return value == 0.0 ? otherwise : value;
}

void read_yarn(const JsonConfig& rope, RotaryScaling& s) {
  s.beta_fast = given(rope, "beta_fast", 32.0);
  s.beta_slow = given(rope, "beta_slow", 1.0);
  s.truncate = rope.boolean("truncate", true);
  const double scale = given(rope, "mscale", 0.0), all = given(rope, "mscale_all_dim", 0.0);
  if (rope.has("attention_factor")) {
    s.attention_factor = rope.real("attention_factor");
    if (s.attention_factor <= 0.0) rope.fail("attention_factor", "is not above 0");
  } else if (scale != 0.0 && all != 0.0) {
    s.attention_factor = magnitude(s.factor, scale) / magnitude(s.factor, all);
  }
}

std::int64_t stretched(std::int64_t positions, double factor) {
  const double longest = std::min(double(positions) * factor, double(kLongest));
  return std::isfinite(longest) ? static_cast<std::int64_t>(longest) : positions;
}

void read_scaling(const JsonConfig& c, const JsonConfig& rope, LlamaOptions& o) {
  auto& s = o.rope_scaling;
  auto& longest = o.sizes.block_size;
  const bool has_original = s.kind == "llama3" || s.kind == "yarn";
  s.original_positions = has_original ? original_positions(c, rope, longest) : longest;
  const bool ratio = s.kind == "yarn" && rope.contains("factor") && !rope.has("factor");
  s.factor = ratio ? double(longest) / double(s.original_positions) : rope.real("factor");
  if (s.kind == "llama3") read_llama3(rope, s);
  if (s.kind == "yarn") read_yarn(rope, s);
  if (s.kind == "yarn" || s.kind == "dynamic") {
    longest = std::max(longest, stretched(s.original_positions, s.factor));
  }
}

void refuse_parts_of_heads(const JsonConfig& rope) {
  const std::string key = "partial_rotary_factor";
  const double part = rope.has(key) ? rope.real(key) : 1.0;
  if (part != 1.0) rope.fail(key, fmt::format("is {}, supported: 1", part));
  rope.require_nothing("mrope_section", "is not supported");
}

}  // namespace

void read_rotary(const JsonConfig& c, LlamaOptions& o) {
  note_known_keys(c);
  const auto name = rotary_section(c);
  o.rope_theta = c.has("rope_theta") ? c.real("rope_theta") : kDefaultTheta;
  if (name.empty()) return;
  const auto rope = c.section(name);
  if (rope.has("rope_theta")) o.rope_theta = rope.real("rope_theta");
  refuse_lost_theta(c, name, o.rope_theta);
  refuse_parts_of_heads(rope);
  const auto kind = scaling_kind(rope);
  if (kind == "default") return;
  o.rope_scaling.kind = kind;
  read_scaling(c, rope, o);
}

namespace {

nlohmann::ordered_json rope_parameters(const LlamaOptions& o) {
  const auto& s = o.rope_scaling;
  nlohmann::ordered_json rope = {{"rope_type", s.kind == "none" ? "default" : s.kind}};
  if (s.kind != "none") rope["factor"] = s.factor;
  if (s.kind == "llama3" || s.kind == "yarn") {
    rope["original_max_position_embeddings"] = s.original_positions;
  }
  if (s.kind == "llama3") {
    rope["low_freq_factor"] = s.low_frequency_factor;
    rope["high_freq_factor"] = s.high_frequency_factor;
  }
  if (s.kind == "yarn") {
    rope["beta_fast"] = s.beta_fast;
    rope["beta_slow"] = s.beta_slow;
    rope["truncate"] = s.truncate;
    if (s.attention_factor > 0.0) rope["attention_factor"] = s.attention_factor;
  }
  return rope;
}

// The file has one number for the positions that training saw and for those that are read.
void require_stretched(const LlamaOptions& o) {
  const auto& s = o.rope_scaling;
  require_input(
      o.sizes.block_size <= stretched(s.original_positions, s.factor),
      "model.block_size is {}, and rope_scaling's original_positions {} times factor {} is "
      "less: Hugging Face's dynamic scaling has no such context",
      o.sizes.block_size, s.original_positions, s.factor);
}

}  // namespace

// What is in rope_scaling alone has its base beside it, for whoever edits it.
void write_rotary(const LlamaOptions& o, nlohmann::ordered_json& config) {
  auto rope = rope_parameters(o);
  config["rope_theta"] = o.rope_theta;
  config["rope_scaling"] = nullptr;
  if (o.rope_scaling.kind != "none") config["rope_scaling"] = rope;
  // dynamic stretches beyond max_position_embeddings.
  if (o.rope_scaling.kind == "dynamic") {
    config["max_position_embeddings"] = o.rope_scaling.original_positions;
    require_stretched(o);
  }
  rope["rope_theta"] = o.rope_theta;
  config["rope_parameters"] = rope;
}

OptionNames rotary_keys() {
  return {{"rope_theta", "'rope_theta'"},
          {"rope_scaling.factor", "'factor' of the rotary scaling"},
          {"rope_scaling.low_frequency_factor", "'low_freq_factor'"},
          {"rope_scaling.high_frequency_factor", "'high_freq_factor'"},
          {"rope_scaling.original_positions", "'original_max_position_embeddings'"},
          {"rope_scaling.beta_fast", "'beta_fast'"},
          {"rope_scaling.beta_slow", "'beta_slow'"},
          {"rope_scaling.attention_factor", "'attention_factor'"}};
}

}  // namespace blockwise
