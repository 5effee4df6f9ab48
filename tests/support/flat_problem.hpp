// Sections of many shapes in flat buffers, a step of them by a FlatStepper, and the same step by
// the CPU's kernels, section by section.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "optimizers/kernels/flat_step.hpp"

namespace blockwise::kernels {

// The source of the CUDA kernels on fibers, see fibers/thread_block.hpp, as it is and with faults.
MakeFlatStepper make_fiber_stepper, make_lost_tail_stepper, make_kept_ticket_stepper;

}  // namespace blockwise::kernels

namespace blockwise::testing {

using kernels::FlatSection;
using Floats = std::vector<float>;

struct FlatShape {
  std::int64_t rows, columns;
  std::int64_t tile_rows = 1, tile_columns = 1;
};

class FlatProblem {
 public:
  // Appends a tensor of one section; returns it for changes of what does not move its neighbours.
  FlatSection& add(const FlatShape& shape, FlatSection::Moment moment,
                   FlatSection::Rates rates = FlatSection::Rates::step);
  // Drawn by formula; weights of size 1, gradients and moments of size 1e-2.
  void fill();
  void draw_gradient(std::uint32_t stream);

  // Whether the buffers of a step have place for bfloat16 copies of w.
  bool copies_in(int step) const { return copies_always || step % 2 == 1; }

  std::vector<FlatSection> sections;
  Floats w, g, m, v, rates;
  bool copies_always = false;         // not in every second step alone
  std::vector<std::uint16_t> copies;  // of the last step that had them; empty: it had none

 private:
  std::int64_t elements_ = 0, values_ = 0, rates_count_ = 0;
};

// Sections of every structure in all of `shapes`.
void add_structures(FlatProblem& problem, const std::vector<FlatShape>& shapes,
                    FlatSection::Rates rates = FlatSection::Rates::step);

// 1 to 33 rows and columns, around every width of vectors.
std::vector<FlatShape> small_shapes();
// Longer than a warp's segment, a piece, a strip; last ones of one element.
std::vector<FlatShape> large_shapes();

// The buffers of a problem where a stepper can reach them.
class ProblemMemory {
 public:
  virtual ~ProblemMemory() = default;
  virtual kernels::FlatBuffers view() const = 0;
  virtual void read(FlatProblem& problem) const = 0;  // w, m, v and the copies
};
// What copies are before a step: no rounded weight.
inline constexpr std::uint16_t kNoCopy = 0x7fc1;
using MakeProblemMemory = std::unique_ptr<ProblemMemory>(const FlatProblem& problem, int step);

// On the host, between pages that nobody may touch: behind the last element in even steps, before
// the first one in odd steps.
MakeProblemMemory guarded_memory;

// What a step got wrong, copies included, in words; empty where nothing. w and m are the CPU's bit
// for bit, given the same second moments; those are bit-equal per element, and within
// kMomentTolerance where shared.
std::vector<std::string> differences(FlatProblem problem, kernels::MakeFlatStepper& make,
                                     const kernels::FlatRule& rule, int steps, double clip_norm,
                                     MakeProblemMemory& memory = guarded_memory);

// Buffers after some steps.
FlatProblem stepped(FlatProblem problem, kernels::MakeFlatStepper& make,
                    const kernels::FlatRule& rule, int steps, double clip_norm,
                    MakeProblemMemory& memory = guarded_memory);

// Adam at step 3, SGD with momentum 0.9; decay 0.1, rate 1e-2.
kernels::FlatRule flat_rule(kernels::FlatRule::Kind kind);

}  // namespace blockwise::testing
