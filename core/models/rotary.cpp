#include "core/models/rotary.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

std::vector<double> plain_frequencies(std::int64_t head_dim, double theta) {
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    frequencies.push_back(std::pow(theta, -2.0 * double(i) / double(head_dim)));
  }
  return frequencies;
}

void stretch_llama3(std::vector<double>& frequencies, const RotaryScaling& s) {
  for (auto& f : frequencies) {
    const double turns = double(s.original_positions) * f / kTwoPi;
    const double low = s.low_frequency_factor, high = s.high_frequency_factor;
    const double rest = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    f = (1.0 - rest) * f / s.factor + rest * f;
  }
}

void stretch_yarn(std::vector<double>& frequencies, double theta, const RotaryScaling& s) {
  const auto dim = 2.0 * double(frequencies.size());
  const auto index_with_turns = [&](double turns) {
    return dim * std::log(double(s.original_positions) / (kTwoPi * turns)) /
           (2.0 * std::log(theta));
  };
  double begin = index_with_turns(s.beta_fast), end = index_with_turns(s.beta_slow);
  if (s.truncate) {
    begin = std::floor(begin);
    end = std::ceil(end);
  }
  begin = std::max(begin, 0.0);
  end = std::min(end, dim - 1.0);
  if (begin == end) end += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((double(i) - begin) / (end - begin), 0.0, 1.0);
    frequencies[i] *= 1.0 - ramp + ramp / s.factor;
  }
}

double dynamic_theta(std::int64_t head_dim, double theta, const RotaryScaling& s,
                     std::int64_t pass) {
  if (pass <= s.original_positions) return theta;
  const double length = double(pass) / double(s.original_positions);
  const double exponent = double(head_dim) / double(head_dim - 2);
  return theta * std::pow(s.factor * length - (s.factor - 1.0), exponent);
}

// Of a pass over `pass` positions.
std::vector<double> frequencies_of(std::int64_t head_dim, double theta, const RotaryScaling& s,
                                   std::int64_t pass) {
  if (s.kind == "dynamic") theta = dynamic_theta(head_dim, theta, s, pass);
  auto frequencies = plain_frequencies(head_dim, theta);
  if (s.kind == "llama3") stretch_llama3(frequencies, s);
  if (s.kind == "yarn") stretch_yarn(frequencies, theta, s);
  if (s.kind == "linear") {
    for (auto& f : frequencies) f /= s.factor;
  }
  return frequencies;
}

double amplitude(const RotaryScaling& s) {
  if (s.kind != "yarn") return 1.0;
  if (s.attention_factor > 0.0) return s.attention_factor;
  return 0.1 * std::log(std::max(s.factor, 1.0)) + 1.0;
}

bool stretches(const RotaryScaling& s, std::int64_t pass) {
  return s.kind == "dynamic" && pass > s.original_positions;
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(std::int64_t head_dim, std::int64_t positions, double theta,
                                 const RotaryScaling& scaling, const at::TensorOptions& options)
    : head_dim_(head_dim), theta_(theta), scaling_(scaling), options_(options) {
  const auto fixed =
      scaling.kind == "dynamic" ? std::min(positions, scaling.original_positions) : positions;
  all_ = make_table(0, fixed, fixed);
}

// Angles in double: at position 1e5 a float angle is wrong in its third digit.
RotaryTable RotaryEmbedding::make_table(std::int64_t first, std::int64_t length,
                                        std::int64_t pass) const {
  if (options_.device().is_meta()) {
    return {at::empty({length, head_dim_}, options_), at::empty({length, head_dim_}, options_)};
  }
  const auto wide = at::TensorOptions().dtype(at::kDouble);
  const auto frequencies = at::tensor(frequencies_of(head_dim_, theta_, scaling_, pass), wide);
  const auto angles = at::outer(at::arange(first, first + length, wide), frequencies);
  const auto both = at::cat({angles, angles}, 1);
  const double scale = amplitude(scaling_);
  return {(both.cos() * scale).to(options_), (both.sin() * scale).to(options_)};
}

RotaryTable RotaryEmbedding::table(std::int64_t first, std::int64_t length) const {
  if (stretches(scaling_, first + length)) return make_table(first, length, first + length);
  return {all_.cosine.narrow(0, first, length), all_.sine.narrow(0, first, length)};
}

// Under autocast the tables are wider than x.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table) {
  const auto halves = x.chunk(2, -1);
  const auto rotated = at::cat({-halves[1], halves[0]}, -1);
  return (x * table.cosine + rotated * table.sine).to(x.scalar_type());
}

void RotaryScaling::visit(FieldVisitor& v) {
  v.begin_section(
      {"rope_scaling", "of the rotary frequencies, for contexts beyond the trained one"});
  v.choice({"kind", "none, linear, that of Llama 3.1, dynamic (NTK) or yarn"}, kind,
           {"none", "linear", "llama3", "dynamic", "yarn"});
  v.real({"factor", "low frequencies are divided by it"}, factor, {1.0, 1e6});
  v.real({"low_frequency_factor", "llama3: turns in the trained context up to which all of it"},
         low_frequency_factor, {0.0, 1e6});
  v.real({"high_frequency_factor", "llama3: turns from which on nothing of it"},
         high_frequency_factor, {0.0, 1e6});
  v.integer({"original_positions", "llama3, dynamic, yarn: the trained context"},
            original_positions, {1, 1 << 24});
  v.real({"beta_fast", "yarn: turns in the trained context from which on nothing of it"}, beta_fast,
         {0.0, 1e6, true, false});
  v.real({"beta_slow", "yarn: turns up to which all of it"}, beta_slow, {0.0, 1e6, true, false});
  v.boolean({"truncate", "yarn: these two fall on whole frequencies"}, truncate);
  v.real({"attention_factor", "yarn: of queries and keys; 0 means 0.1 ln(factor) + 1"},
         attention_factor, {0.0, 1e3});
  v.check("high_frequency_factor", kind != "llama3" || high_frequency_factor > low_frequency_factor
                                       ? ""
                                       : fmt::format("{} is not above low_frequency_factor {}",
                                                     high_frequency_factor, low_frequency_factor));
  v.check("beta_fast", kind != "yarn" || beta_fast >= beta_slow
                           ? ""
                           : fmt::format("{} is below beta_slow {}", beta_fast, beta_slow));
  v.end_section();
}

}  // namespace blockwise
