#include "experiments/training/recorded_pass.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"

namespace blockwise {

void require_alike_passes(const ResolvedRun& run, at::Device device, bool is_alone) {
  const auto& config = run.config;
  const auto refuse_where = [](bool condition, std::string_view why) {
    require_input(!condition, "trainer.cuda_graph records a pass, and {}", why);
  };
  refuse_where(device.is_cpu(),
               "a CPU has no graphs: trainer.device is cpu, or no CUDA device is here");
  refuse_where(!is_alone, "one of several processes sends within it");
  refuse_where(config.trainer.gradient_storage() == Gradients::released,
               "trainer.gradients: released updates within it");
  refuse_where(config.parallel.order() == SumOrder::pairwise,
               "parallel.gradient_sum: pairwise adds up otherwise in each");
  refuse_where(config.model.spec->draws_masks(),
               "dropout draws other masks in each: model.dropout 0");
  refuse_where(run.data->ignores_targets(),
               "each has other numbers of targets that count in masked data");
}

void RecordedPass::record(const Batch& batch, const Pass& pass) {
  batch_ = {batch.inputs.clone(), batch.targets.clone()};
  graph_ = make_();
  graph_->record([&] { loss_ = pass(batch_).detach(); });
}

at::Tensor RecordedPass::run(const Batch& batch, const Pass& pass) {
  if (passes_ < kPassesBefore) {
    ++passes_;
    return pass(batch);
  }
  if (!graph_) record(batch, pass);
  check_equal(batch.inputs.numel(), batch_.inputs.numel(), "inputs of passes that are alike");
  batch_.inputs.copy_(batch.inputs);
  batch_.targets.copy_(batch.targets);
  graph_->replay();
  return loss_.clone();
}

}  // namespace blockwise
