// Learner: what one process has of a run and makes steps with: parameters, model, optimizer. It
// reads data and writes nothing. Of a run of several processes each has one; a step and a mean are
// made by all of them together and are the same on each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/base/stop_query.hpp"
#include "core/curvature.hpp"
#include "core/memory/device_graph.hpp"
#include "core/parallel/gathered_layers.hpp"
#include "core/parallel/gradient_sum.hpp"
#include "core/parallel/ranks.hpp"
#include "core/parameters/parameter_store.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_identity.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/model_optimizer.hpp"
#include "experiments/training/rank_pace.hpp"
#include "experiments/training/recorded_pass.hpp"
#include "experiments/training/step_loss.hpp"
#include "experiments/training/stopwatch.hpp"

namespace blockwise {

// Each target that counts weighted alike.
struct MeanLoss {
  double loss = 0.0;
  std::int64_t targets = 0;
};

class Learner {
 public:
  // origin: of a run that starts from another, otherwise all 0. The run and the ranks outlive it.
  // Throws InputError where processes cannot share the step's micro-batches evenly, for several
  // processes with gradients that are released, for passes that cannot be recorded where they are
  // to be, and as the parts do.
  Learner(const ResolvedRun& run, const RunOrigin& origin, at::Device device, const Ranks& ranks);

  // The step after `done` steps. Without update_norm and rows of others: the row's step is done
  // + 1.
  StepRecord step(std::int64_t done);
  // About a rank that kept the others waiting, after the last step; mostly empty.
  const std::string& pace_note() const { return pace_note_; }
  // How processes share the optimizer; empty where each has all of it.
  const std::string& shares_note() const { return shares_.note(); }
  // Of all examples. Nothing where it is stopped, which a process that is alone can be.
  std::optional<MeanLoss> mean_loss(const HeldOutSet& set, const StopQuery& stop) const;
  // Calls `use` with the curvature at the present parameters, on a copy of them, or of this
  // process' share: nothing of the run's own changes. On every rank; of ranks other than the first
  // `use` serves.
  void with_curvature(const std::function<void(Curvature&)>& use) const;
  // Targets that the run has seen after `done` steps.
  std::int64_t tokens(std::int64_t done) const {
    return origin_.tokens + (done - origin_.step) * tokens_per_step_;
  }

  // Of this process: the flat buffer, with those that hold sums of micro-batches.
  std::int64_t gradient_bytes() const;
  ParameterStore& store() { return store_; }
  const ParameterStore& store() const { return store_; }
  Model& model() { return *model_; }
  ModelOptimizer& optimizer() { return optimizer_; }
  const ModelOptimizer& optimizer() const { return optimizer_; }
  LoadState load_state() {
    return [this](auto steps, const auto& state) { optimizer_.load_state(steps, state); };
  }
  const Ranks& ranks() const { return ranks_; }

 private:
  void make_sum();
  std::pair<double, double> evaluated(const HeldOutSet& set, std::int64_t number) const;
  void with_shared_curvature(const std::function<void(Curvature&)>& use) const;
  // A step that is being made.
  struct Step {
    std::int64_t done;
    std::int64_t counted;  // targets of all micro-batches
    StepRecord row;
    Stopwatch watch;
    StepLoss loss;  // of this process
  };
  // On the device; its targets that count, of those that it has.
  struct CountedBatch {
    Batch batch;
    std::int64_t counted;
  };
  std::int64_t counted(const Batch& batch) const;
  std::int64_t counted_in_step(std::int64_t done) const;
  std::optional<CountedBatch> micro_batch(std::int64_t done, std::int64_t number) const;
  // The same, which may have been fetched already; and fetches it.
  std::optional<CountedBatch> next_batch(std::int64_t done, std::int64_t number);
  void fetch_ahead(std::int64_t done, std::int64_t number);
  std::int64_t first_example(std::int64_t done, std::int64_t micro_batch) const;
  Batch to_device(const Batch& batch) const;
  ForwardContext forward_context(const Step& step, std::int64_t micro_batch) const;
  void sample_labels(Step& step, Batch& batch, std::int64_t micro_batch) const;
  at::Tensor add_gradient(Step& step, const CountedBatch& batch, std::int64_t micro_batch);
  at::Tensor pass(Step& step, const CountedBatch& batch, std::int64_t micro_batch);
  // The loss of this process' micro-batches, and their gradients where they are added up.
  enum class Targets { given, sampled };
  StepLoss sum_gradients(Step& step, Targets targets);
  double summed(const Step& step);
  void learn_curvature(Step& step);
  StepReport update(Step& step);
  double released_norm(Step& step);
  StepReport update_released(Step& step);

  const ResolvedRun& run_;
  RunOrigin origin_;
  const TrainerConfig& trainer_;
  at::Device device_;
  const Ranks& ranks_;
  std::unique_ptr<SideStream> stream_;  // where passes are recorded
  std::int64_t micro_batches_;          // of a step, of all processes
  ModelShares shares_;
  ParameterStore store_;
  std::unique_ptr<Model> model_;
  ModelOptimizer optimizer_;
  std::int64_t tokens_per_step_;
  RankPace pace_;
  std::string pace_note_;
  std::unique_ptr<GatheredLayers> layers_;  // where the weights of layers are with their owners
  std::optional<RecordedPass> recorded_;
  struct Ahead {
    std::int64_t done, number;
    std::optional<CountedBatch> batch;
  };
  std::optional<Ahead> ahead_;        // what a step will begin with
  std::unique_ptr<GradientSum> sum_;  // null where each gradient is used inside the backward pass
};

}  // namespace blockwise
