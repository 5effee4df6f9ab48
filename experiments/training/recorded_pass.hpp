// RecordedPass: the forward and backward pass of a micro-batch as one call of a CUDA graph. The
// first passes are made as they are, which leaves behind what LibTorch makes once; the next one is
// recorded, and from then on replayed. Bits are those of the pass itself.
//
// All passes have to be alike: of one shape, with the same numbers of the host, and what they
// change (gradients) at one place.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "core/base/batch.hpp"
#include "core/memory/device_graph.hpp"
#include "experiments/config/resolved_run.hpp"

namespace blockwise {

// Throws InputError where a run's passes are not alike: with dropout, with targets that do not
// count, with gradients that are released or added up in pairs, on a CPU or in several processes.
void require_alike_passes(const ResolvedRun& run, at::Device device, bool is_alone);

class RecordedPass {
 public:
  // Adds the batch's gradients to where they are summed; returns its share of the loss.
  using Pass = std::function<at::Tensor(const Batch&)>;
  static constexpr int kPassesBefore = 3;

  explicit RecordedPass(MakeDeviceGraph& make) : make_(make) {}

  // The loss is a tensor of its own. Throws what DeviceGraph::record() does.
  at::Tensor run(const Batch& batch, const Pass& pass);

 private:
  void record(const Batch& batch, const Pass& pass);

  MakeDeviceGraph& make_;
  int passes_ = 0;
  Batch batch_;      // where the recording reads
  at::Tensor loss_;  // where it writes
  std::unique_ptr<DeviceGraph> graph_;
};

}  // namespace blockwise
