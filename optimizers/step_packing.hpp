// StepPacking: which buffers of a step over all tensors are in fewer bits between steps, where, and
// how kernels get at them (kernels/flat_packing.hpp): split masters, and state with a codec. Stored
// bytes are those of the steps tensor by tensor, given the same updates.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "optimizers/kernels/flat_plan.hpp"
#include "optimizers/kernels/flat_step.hpp"
#include "optimizers/parameter_step.hpp"

namespace blockwise {

class CodedSteps;
class FlatStep;
class ParameterStore;
class StateStore;

// What is stepped; kept by reference.
struct FlatSubject {
  const FlatStep& rule;
  const ParameterStore& store;
  std::span<const ParameterStep> parts;  // all parameters in the layout's order
  const StateStore& state;               // the rule's
  const CodedSteps& coded;
};

// Of a step: what random rounding begins with, by parameter.
struct RoundingSeeds {
  std::function<std::uint64_t(std::size_t)> of_state;  // of all of the parameter's state
  std::function<std::uint64_t(std::size_t)> of_master;
};

class StepPacking {
 public:
  explicit StepPacking(const FlatSubject& subject) : subject_(subject) {}

  bool splits_masters() const;
  bool has_codec(std::size_t state) const;  // number `state` of some parameter
  // Whether there are kernels for all of it: codecs that a device knows.
  bool has_kernels() const;
  // Takes float32 memory for the windows of these sections and for second moments that blocks
  // share, without anything in it; elsewhere add_to() does.
  void take_memory(kernels::FlatPlan& plan, const std::vector<kernels::FlatSection>& sections);
  // Adds what is packed to a plan of these sections, and takes that memory.
  void add_to(kernels::FlatPlan& plan, const std::vector<kernels::FlatSection>& sections);
  // Points buffers that are packed to that memory, and what is rounded at random to new seeds.
  void set(kernels::FlatBuffers& buffers, const RoundingSeeds& seeds);

 private:
  // Of which parameter, and of state which and from which value on.
  struct Seed {
    std::size_t parameter;
    std::optional<std::size_t> state;
    std::int64_t begin = 0;
  };
  std::vector<kernels::PackedTensor> masters();
  // places: of its tensors.
  std::vector<kernels::PackedTensor> state(std::size_t number,
                                           std::vector<kernels::PackedTensor> places);
  NumberFormat format_of_state(std::size_t number) const;
  at::Tensor memory(std::int64_t numbers) const;
  void draw(const RoundingSeeds& seeds);

  FlatSubject subject_;
  at::Tensor w_, m_, v_;        // float32; undefined where nothing is packed
  bool shares_values_ = false;  // v_ has all of them, not those of a window
  std::vector<Seed> seeds_;
  at::Tensor device_seeds_;  // int64; undefined where nothing is rounded at random
  bool is_random_ = false;
};

}  // namespace blockwise
