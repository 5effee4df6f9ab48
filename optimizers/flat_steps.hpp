// FlatSteps: one step of a rule over the flat buffers of all tensors, by the kernels of
// kernels/flat_step.hpp. What lies between an Optimizer and pointers on a device. Masters and state
// that are in fewer bits are float32 window by window (kernels/flat_packing.hpp), with the bits of
// the steps tensor by tensor.
#pragma once

#include <memory>
#include <vector>

#include "optimizers/kernels/flat_step.hpp"
#include "optimizers/parameter_step.hpp"
#include "optimizers/step_packing.hpp"

namespace blockwise {

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
  // Null where a section's structure, rates by labels, or a format have no kernel. Takes float32
  // memory for a window of everything that is in fewer bits.
  static std::unique_ptr<FlatSteps> make(const FlatSubject& subject,
                                         kernels::MakeFlatStepper& make);

  // Whether a step writes what the model computes with, too: the store's flat copies, or weights
  // whose masters are split.
  bool writes_copies() const;

  // Takes the memory of a first step, of LibTorch's; for a plan, of a model on the meta device.
  void rehearse();

  // clip_norm: 0 for none. Where the reported norm is not finite nothing was changed.
  kernels::FlatReport step(const StepScope& scope, double clip_norm, const RoundingSeeds& seeds);

 private:
  FlatSteps(const FlatSubject& subject, kernels::MakeFlatStepper& make);
  bool find_sections();
  void add_rates(const ParameterStep& part, std::size_t section, kernels::FlatSection& flat);
  void follow_rates();
  kernels::FlatBuffers buffers() const;
  float* state_data(std::size_t number) const;

  FlatSubject subject_;
  kernels::MakeFlatStepper& make_;
  StepPacking packing_;
  double weight_decay_ = 0.0;
  std::vector<kernels::FlatSection> sections_;
  std::vector<float> rates_;
  at::Tensor device_rates_;  // float32; empty where all rates are the step's
  std::unique_ptr<kernels::FlatStepper> stepper_;
};

}  // namespace blockwise
