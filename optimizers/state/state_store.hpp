// StateStore: the state of all parameters. Tensors of one name and type lie one behind the other in
// one buffer, in the layout's order, so that a kernel can run over all of them at once and counting
// bytes is the same for every rule. They are saved and loaded parameter by parameter.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/parameters/parameter_layout.hpp"
#include "optimizers/state/state.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class StateStore {
 public:
  // specs: by parameter of the layout. Zeros on the device. Throws InputError where the device has
  // less memory than that, before any of it is taken, and where parameters keep state of one name
  // in two types.
  StateStore(const ParameterLayout& layout, std::vector<std::vector<StateSpec>> specs,
             at::Device device);

  const State& of(std::size_t parameter) const { return states_[parameter]; }
  // Every name once, with the buffer of all parameters' values.
  const NamedTensors& buffers() const { return buffers_; }
  std::vector<std::pair<std::string, std::int64_t>> bytes() const;
  // NAME/PARAMETER, as views in the specs' shapes.
  NamedTensors by_parameter() const;
  // Takes what by_parameter() gave, or buffers(), which is what checkpoints held before state was
  // saved by parameter. Throws InputError by name for a tensor that is missing or of another size
  // or type; then nothing has changed.
  void load(const NamedTensors& saved);

 private:
  std::vector<std::string> names_;  // of the layout
  std::vector<std::vector<StateSpec>> specs_;
  NamedTensors buffers_;
  std::vector<State> states_;
};

}  // namespace blockwise
