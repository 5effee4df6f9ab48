// One optimizer step over the flat buffers of all tensors, on a device: the sums of squares of the
// gradient, its norm and the factor that clips it, every shared second moment, and the update. The
// formulas are those of segment.hpp and adam.hpp.
//
// Kernels per step: squares (reads g once: the norm and the sum of every block), norm, moments
// (where v is shared), group_means (where it is factored), update and totals; their number does not
// depend on the number of tensors. Bytes per element: 4 for squares; update 20 with a shared second
// moment (reads w, g, m; writes w, m), 28 with one per element, 20 for SGD with momentum and Lion,
// 12 for SGD without, and 2 more where bfloat16 copies of w are written; each packed buffer its
// bytes twice and 16 more, which stay in the device's caches. One transfer to the host and one
// synchronisation per step.
//
// Deterministic: sums have fixed slots and a fixed order, which follow from the plan alone. With
// gradient_scale 1 the arithmetic of an element is that of the CPU's kernels, bit for bit where
// those have fused multiply-adds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "optimizers/kernels/flat_plan.hpp"
#include "optimizers/kernels/segment.hpp"

namespace blockwise::kernels {

// The rule and its constants. gradient_scale is not looked at: the device finds it.
struct FlatRule {
  // adam: of each piece's second moment. momentum: SGD with a buffer. descent: without. lion (Chen
  // et al., arXiv 2302.06675, Algorithm 2): w <- decay w - step_size sign(beta1 m + (1 - beta1)
  // g'),
  //   m <- beta2 m + (1 - beta2) g', with the constants of `adam`; sign(0) = 0.
  enum class Kind { adam, momentum, descent, lion };
  Kind kind = Kind::adam;
  AdamStep adam;
  SgdStep sgd;
};

// On the device, 16-byte aligned, copies 8-byte; m and v may be null where the rule has none. Of a
// buffer that the plan has packed: memory for float32 of its largest window and three elements
// more; of v as packing.shared for all values.
struct FlatBuffers {
  float* w = nullptr;
  const float* g = nullptr;
  float* m = nullptr;
  float* v = nullptr;
  const float* rates = nullptr;  // factors of the learning rate, where the plan names any
  // bfloat16 of w, rounded to the nearest, at the same places; null: none are written.
  std::uint16_t* copies = nullptr;
  // Of rounding at random, by number; null where no packed buffer is.
  const std::uint64_t* seeds = nullptr;
};

struct FlatReport {
  double squared_norm = 0;    // of g; where it is not finite nothing was changed
  float gradient_scale = 1;   // min(1, clip_norm / (norm + 1e-6)); 1 without a bound
  std::vector<double> moved;  // sums of (w_new - w_old)^2, by tensor
};

class FlatStepper {
 public:
  virtual ~FlatStepper() = default;
  // Steps. clip_norm: bound on the gradient's norm; 0: none. Throws std::runtime_error with the
  // device's words where a call fails, std::invalid_argument for a buffer that is not aligned.
  virtual FlatReport step(const FlatRule& rule, const FlatBuffers& buffers, double clip_norm) = 0;
};

using MakeFlatStepper = std::unique_ptr<FlatStepper>(const FlatPlan& plan, void* stream);

// With tables and scratch on the current device, on that stream (a cudaStream_t; null: the default
// one). Throws std::runtime_error where the library was built without a CUDA compiler, or where
// there is no device.
MakeFlatStepper make_cuda_stepper;

// Empty where make_cuda_stepper() can work: otherwise why not, as a sentence.
const char* why_no_cuda_stepper();

}  // namespace blockwise::kernels
