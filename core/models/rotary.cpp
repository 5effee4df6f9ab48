#include "core/models/rotary.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/tensor_bits.hpp"
#include "core/kernels/rotary_rows.hpp"

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

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// x with its rows' elements side by side, as the kernel wants them.
at::Tensor with_whole_rows(const at::Tensor& x) { return x.stride(3) == 1 ? x : x.contiguous(); }

// Like x in shape, [B, T, H, D] in memory, which merging heads needs.
at::Tensor empty_by_position(const at::Tensor& x) {
  return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

at::Tensor turned(const at::Tensor& input, const at::Tensor& cosines, const at::Tensor& sines) {
  const auto x = with_whole_rows(input);
  auto y = empty_by_position(x);
  if (x.is_meta()) return y;
  const auto heads = x.size(1), length = x.size(2), dim = x.size(3);
  with_bits(x, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(
        0, x.size(0) * heads, 1 + (1 << 14) / (length * dim), [&](auto begin, auto end) {
          for (auto i = begin; i < end; ++i) {
            const auto b = i / heads, h = i % heads;
            rotate_rows(RotaryRows<T>{
                bits_of_tensor<T>(x) + b * x.stride(0) + h * x.stride(1), x.stride(2),
                bits_of_tensor<T>(y) + b * y.stride(0) + h * y.stride(1), y.stride(2),
                cosines.const_data_ptr<float>(), sines.const_data_ptr<float>(), length, dim / 2});
          }
        });
  });
  return y;
}

class Rotation : public torch::autograd::Function<Rotation> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const at::Tensor& cosines,
                          const at::Tensor& sines) {
    context->save_for_backward({cosines, sines});
    return turned(x, cosines, sines);
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError("the rotary embedding was differentiated twice");
    }
    const auto saved = context->get_saved_variables();
    return {turned(outputs[0], saved[0], -saved[1]), {}, {}};  // the transpose turns back
  }
};

}  // namespace

// Under autocast the tables are wider than x.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table, const ForwardContext& context) {
  if (!context.twice_differentiable && has_cpu_kernel(x, context)) {
    const auto wide = [](const at::Tensor& t) { return t.to(at::kFloat).contiguous(); };
    return Rotation::apply(x, wide(table.cosine), wide(table.sine));
  }
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
