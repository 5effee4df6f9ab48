// SIMD kernels over one contiguous run of float32 elements, dispatched at run time to the widest
// instruction set of the machine. Everything above them only chooses runs.
//
// Notation: g' = gradient_scale * g. The Adam step of an element with denominator d is
//   m <- beta1 m + (1 - beta1) g'
//   w <- decay w - step_size m / d
// Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2, written as in torch.optim.AdamW: eps is
// added after the root and after the bias correction, and decay = 1 - lr * weight_decay comes
// first. Buffers must not overlap. With `rates` element i has the learning rate rates[i] lr:
//   w <- (1 - rates[i] lr weight_decay) w - rates[i] step_size m / d
// and the rate of the step where `rates` is null. Each function returns the sum of (w_new -
// w_old)^2 over its run: float partial sums within runs of 1024 elements, double between them, in a
// fixed order.
#pragma once

#include <cstdint>

namespace blockwise::kernels {

// Constants of a step, computed in double on the host and rounded once.
struct AdamStep {
  float beta1 = 0;
  float one_minus_beta1 = 0;
  float beta2 = 0;
  float one_minus_beta2 = 0;
  float decay = 1;              // 1 - lr * weight_decay
  float shrink = 0;             // lr * weight_decay, for rates per element
  float step_size = 0;          // lr / (1 - beta1^t)
  float inverse_root_bias = 1;  // 1 / sqrt(1 - beta2^t)
  float eps = 0;
  float gradient_scale = 1;
  bool nesterov = false;  // the step goes along beta1 m + (1 - beta1) g', m the new one

  // For a second moment that is up to date already.
  AdamStep with_fixed_moment() const {
    auto step = *this;
    step.beta2 = 1;
    step.one_minus_beta2 = 0;
    return step;
  }
};

struct SgdStep {
  float momentum = 0;
  float decay = 1;   // 1 - lr * weight_decay
  float shrink = 0;  // lr * weight_decay, for rates per element
  float learning_rate = 0;
  float gradient_scale = 1;
  bool nesterov = false;

  static SgdStep of(double learning_rate, double weight_decay, double gradient_scale) {
    SgdStep step;
    step.decay = static_cast<float>(1.0 - learning_rate * weight_decay);
    step.shrink = static_cast<float>(learning_rate * weight_decay);
    step.learning_rate = static_cast<float>(learning_rate);
    step.gradient_scale = static_cast<float>(gradient_scale);
    return step;
  }
};

// n elements one behind the other.
struct Run {
  float* w;
  const float* g;
  float* m;  // the average of gradients, or the momentum buffer
  std::int64_t n;
  const float* rates = nullptr;
};

// Second moment per element: v <- beta2 v + (1 - beta2) g'^2, d = sqrt(v) inverse_root_bias + eps.
double adam_elements(const Run& run, float* v, const AdamStep& step);
// One denominator for the run.
double adam_uniform(const Run& run, float denominator, const AdamStep& step);
// d_j = roots[j] * root_scale + eps.
double adam_columns(const Run& run, const float* roots, float root_scale, const AdamStep& step);
// w <- decay w - step_size sign(beta1 m + (1 - beta1) g');  m <- beta2 m + (1 - beta2) g'.
// Averages are rounded as LibTorch's m.mul_(beta).add_(g, 1 - beta): a product, then a fused
// multiply-add, so that no sign differs from that of the rule in tensor operations.
double lion(const Run& run, const AdamStep& step);
// m <- momentum m + g'; w <- decay w - lr m (or - lr (g' + momentum m), Nesterov).
double sgd(const Run& run, const SgdStep& step);
// w <- decay w - lr g'; m is not looked at.
double descend(const Run& run, const SgdStep& step);

// Sum of g^2.
double sum_squares(const float* g, std::int64_t n);
// sums[j] += g_ij^2 of every row i, one after the other.
void add_squares(const float* g, std::int64_t rows, std::int64_t columns, float* sums);

// Values of a shared second moment, rounded as adam_elements does it; n of them turn the means of
// their squares into their roots.
float second_moment(float v, float mean_square, const AdamStep& step);
void second_moments(float* v, float* means, std::int64_t n, const AdamStep& step);
// sqrt(v) * scale + eps and sqrt(v), rounded as above.
float denominator(float v, float scale, const AdamStep& step);

// Name of the instruction set in use, for example "AVX3".
const char* simd_target();

}  // namespace blockwise::kernels
