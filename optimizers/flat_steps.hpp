// FlatSteps: one step of a rule over the flat buffers of all tensors, by the kernels of
// kernels/flat_step.hpp. What lies between an Optimizer and pointers on a device.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "optimizers/kernels/flat_step.hpp"
#include "optimizers/parameter_step.hpp"

namespace blockwise {

class ParameterStore;
class StateStore;

// What an UpdateRule is besides where there is a kernel for its step of all tensors at once, over
// the flat buffers of weights, gradients and its state: of that the first, where there is one, has
// the parameters' shapes; the second is its second moment. Only of rules that have neither turns
// nor a begin_step() but for merged sections.
class FlatStep {
 public:
  virtual ~FlatStep() = default;
  // With its options.
  virtual bool has_flat_step() const { return true; }
  // weight_decay: of the tensors that decay. The scope's gradient_scale is not known yet.
  virtual kernels::FlatRule flat_rule(const StepScope& scope, double weight_decay) const = 0;
  // Sets the second moment of a section that lies at flat.begin, and its place in the buffer; false
  // where there is no kernel for its structure.
  virtual bool set_moment(const PartitionSection& section, kernels::FlatSection& flat) const = 0;
};

class FlatSteps {
 public:
  // parts: all parameters in the layout's order, with the rule's state. Null where a section's
  // structure, or rates by labels, have no kernel. Keeps references to all but `rule`'s specs.
  static std::unique_ptr<FlatSteps> make(const FlatStep& rule, const ParameterStore& store,
                                         std::span<const ParameterStep> parts,
                                         const StateStore& state, kernels::MakeFlatStepper& make);

  // Whether a step writes what the model computes with, too: the store's flat copies.
  bool writes_copies() const;

  // clip_norm: 0 for none. Where the reported norm is not finite nothing was changed.
  kernels::FlatReport step(const StepScope& scope, double clip_norm);

 private:
  FlatSteps(const FlatStep& rule, const ParameterStore& store, std::span<const ParameterStep> parts,
            const StateStore& state, kernels::MakeFlatStepper& make);
  bool find_sections();
  void add_rates(const ParameterStep& part, std::size_t section, kernels::FlatSection& flat);
  void follow_rates();
  kernels::FlatBuffers buffers() const;
  std::uint16_t* copies() const;

  const FlatStep& rule_;
  const ParameterStore& store_;
  std::span<const ParameterStep> parts_;
  const StateStore& state_;
  kernels::MakeFlatStepper& make_;
  double weight_decay_ = 0.0;
  std::vector<kernels::FlatSection> sections_;
  std::vector<float> rates_;
  at::Tensor device_rates_;  // float32; empty where all rates are the step's
  std::unique_ptr<kernels::FlatStepper> stepper_;
};

}  // namespace blockwise
