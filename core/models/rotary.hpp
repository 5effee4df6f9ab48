// Rotary position embedding (Su et al., arXiv 2104.09864) in the rotate-half form: the pairing
// (i, i + D/2) is that of Hugging Face's LLaMA. Frequencies f_i = theta^(-2i/D), i < D/2.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/base/fields.hpp"
#include "core/base/forward_context.hpp"

namespace blockwise {

// How the frequencies are stretched for contexts beyond the trained one of N positions; each as in
// transformers, under whose names they are. s is the factor.
//   linear   f / s.
//   llama3   Llama 3.1: with w = 2 pi / f the wave length, f where w < N / high, f / s where
//            w > N / low, and between the two (1 - r) f / s + r f, r = (N / w - low) / (high -
//            low).
//   dynamic  NTK: a pass of L > N positions takes theta (s L / N - s + 1)^(D / (D - 2)) in place of
//            theta; up to N positions nothing is stretched. Keys in a cache keep the base of the
//            pass that made them.
//   yarn     Peng et al., arXiv 2309.00071: f (1 - r_i) + f r_i / s with the ramp
//            r_i = clamp((i - a) / (b - a), 0, 1) from a = c(beta_fast) to b = c(beta_slow),
//            c(n) = D ln(N / (2 pi n)) / (2 ln theta) the index that turns n times in N positions;
//            cosines and sines are multiplied by the attention factor.
struct RotaryScaling {
  std::string kind = "none";  // none, linear, llama3, dynamic, yarn
  double factor = 1.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  std::int64_t original_positions = 8192;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  bool truncate = true;           // a rounded down and b up to whole indices
  double attention_factor = 0.0;  // 0: 0.1 ln(s) + 1

  // As a section `rope_scaling`.
  void visit(FieldVisitor& v);
};

// Cosines and sines of neighbouring positions, [T, D] each.
struct RotaryTable {
  at::Tensor cosine;
  at::Tensor sine;
};

class RotaryEmbedding {
 public:
  // D = head_dim, even; above 2 for a dynamic scaling. Tables have the dtype of `options`.
  // Memory: 2 * positions * D elements.
  RotaryEmbedding(std::int64_t head_dim, std::int64_t positions, double theta,
                  const RotaryScaling& scaling, const at::TensorOptions& options);
  // Of positions first .. first + length - 1, as a pass that ends there needs them: views, but
  // where a dynamic scaling stretches, which makes 2 * length * D new elements.
  RotaryTable table(std::int64_t first, std::int64_t length) const;

 private:
  RotaryTable make_table(std::int64_t first, std::int64_t length, std::int64_t pass) const;

  std::int64_t head_dim_;
  double theta_;
  RotaryScaling scaling_;
  at::TensorOptions options_;
  RotaryTable all_;
};

// x [B, H, T, D] turned to the table's positions. In float32 and bfloat16 on the CPU in one pass,
// once differentiable unless the context wants twice.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table, const ForwardContext& context);

}  // namespace blockwise
