#include "experiments/training/learner.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "core/autograd.hpp"
#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/parameters/gradient_release.hpp"
#include "core/sampled_labels.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_shares.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/training/step_share.hpp"

namespace blockwise {
namespace {

// Of a step, of all processes. Throws InputError where they cannot be shared.
std::int64_t micro_batches_of(const ResolvedRun& run, const Ranks& ranks) {
  return blockwise::micro_batches_of(run.config, run.data->shape().sequence_length, ranks.size());
}

GradientSum::Options sum_options(const ParallelConfig& config, std::int64_t micro_batches,
                                 const Owners& owners) {
  GradientSum::Options options;
  options.owners = owners;
  options.order = config.order();
  options.micro_batches = micro_batches;
  options.bucket_bytes = config.bucket_mb << 20;
  return options;
}

// Where owners keep them, no process keeps all gradients.
Gradients gradient_storage(const RunConfig& config, const Ranks& ranks) {
  const bool sharded = !ranks.is_alone() && config.parallel.shares_gradients();
  return sharded ? Gradients::released : config.trainer.gradient_storage();
}

// What is not in memory is in the run's folder, unless the configuration says where; of other ranks
// than the first in a folder of their own.
std::string page_folder(const std::string& configured, const ResolvedRun& run, const Ranks& ranks) {
  if (ranks.rank() == 0 && !configured.empty()) return configured;
  auto own = std::filesystem::path(configured.empty() ? run.config.output : configured);
  if (ranks.rank() > 0) own /= fmt::format("rank_{}", ranks.rank());
  std::filesystem::create_directories(own);
  return own.string();
}

std::optional<MixedPrecision> mixed_precision(const ResolvedRun& run, const Ranks& ranks,
                                              const ModelShares& shares) {
  auto trainer = run.config.trainer;
  if (trainer.pages_masters()) {
    trainer.master_folder = page_folder(trainer.master_folder, run, ranks);
  }
  auto mixed = trainer.mixed_precision();
  if (!mixed || shares.is_whole()) return mixed;
  require_input(mixed->masters == MasterWeights::fp32,
                "parallel.shard is {}, but trainer.master_weights is {}, not fp32",
                run.config.parallel.shard, trainer.master_weights);
  return mixed;
}

// Float32 weights are their own masters, unless they are there only now and then.
std::optional<OwnMasters> own_masters(const ResolvedRun& run, const ModelShares& shares) {
  if (shares.is_whole()) return std::nullopt;
  const bool has_copies = run.config.trainer.mixed_precision().has_value();
  return has_copies || shares.gathered_layers() > 0 ? std::optional(shares.own()) : std::nullopt;
}

OptimizerConfig optimizer_config(const ResolvedRun& run, const Ranks& ranks) {
  auto config = run.config.optimizer;
  if (config.state.is_paged()) config.state.folder = page_folder(config.state.folder, run, ranks);
  return config;
}

// What is recorded cannot be on the default stream; everything of the run goes where it is.
std::unique_ptr<SideStream> stream_of(const ResolvedRun& run, at::Device device,
                                      const Ranks& ranks) {
  if (!run.config.trainer.cuda_graph) return nullptr;
  require_alike_passes(run, device, ranks.is_alone());
  return std::make_unique<SideStream>(device);
}

}  // namespace

Learner::Learner(const ResolvedRun& run, const RunOrigin& origin, at::Device device,
                 const Ranks& ranks)
    : run_(run),
      origin_(origin),
      trainer_(run.config.trainer),
      device_(device),
      ranks_(ranks),
      stream_(stream_of(run, device, ranks)),
      micro_batches_(micro_batches_of(run, ranks)),
      shares_(run.config.optimizer, run.config.parallel, *run.config.model.spec, run.layout,
              {ranks.rank(), ranks.size()}, static_cast<std::uint64_t>(run.config.seed)),
      store_(run.layout, device, at::kFloat, mixed_precision(run, ranks, shares_),
             gradient_storage(run.config, ranks), own_masters(run, shares_)),
      model_(run.config.model.spec->build(store_)),
      optimizer_(optimizer_config(run, ranks), shares_, store_, ranks,
                 static_cast<std::uint64_t>(run.config.seed)),
      tokens_per_step_(trainer_.global_batch_tokens) {
  if (trainer_.cuda_graph) recorded_.emplace(make_device_graph);
  make_sum();
}

void Learner::make_sum() {
  if (shares_.gathered_layers() > 0) {
    layers_ = std::make_unique<GatheredLayers>(store_, ranks_, shares_.owners());
  }
  if (trainer_.gradient_storage() == Gradients::released) return;
  const auto options =
      sum_options(run_.config.parallel, micro_batches_ / ranks_.size(), shares_.owners());
  sum_ = store_.releases_gradients()
             ? make_sharded_sum(store_, ranks_, options, optimizer_.gradients())
             : make_kept_sum(store_, ranks_, options);
}

std::int64_t Learner::gradient_bytes() const {
  const auto buffers =
      further_buffers(run_.config.parallel.order(), micro_batches_ / ranks_.size());
  return (1 + buffers) * store_.gradient_bytes();
}

// A function of the step alone, which is what makes resuming exact.
std::int64_t Learner::first_example(std::int64_t done, std::int64_t micro_batch) const {
  const auto cycle = trainer_.overfit_batches;
  const auto batch = cycle == 0 ? done - origin_.step : done % cycle;
  const auto first = cycle == 0 ? origin_.first_example : 0;
  return first + (batch * micro_batches_ + micro_batch) * trainer_.micro_batch_size;
}

// From pinned memory, so that the host does not wait for what the device is at.
Batch Learner::to_device(const Batch& batch) const {
  if (device_.is_cpu()) return batch;
  const auto moved = [this](const at::Tensor& x) {
    return x.pin_memory().to(device_, x.scalar_type(), /*non_blocking=*/true);
  };
  return {moved(batch.inputs), moved(batch.targets)};
}

// Targets that count.
std::int64_t Learner::counted(const Batch& batch) const {
  if (!run_.data->ignores_targets()) return batch.tokens();
  return batch.targets.ne(kIgnoredTarget).sum().item<std::int64_t>();
}

// Of the whole step, which the loss is the mean over, however it is cut into micro-batches.
std::int64_t Learner::counted_in_step(std::int64_t done) const {
  if (!run_.data->ignores_targets()) return tokens_per_step_;
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    sum += counted(run_.data->training_examples(first_example(done, i), trainer_.micro_batch_size));
  }
  require_input(sum > 0,
                "the mask leaves no target that counts in step {}: trainer.global_batch_tokens is "
                "{}, larger is better",
                done + 1, tokens_per_step_);
  return sum;
}

// On the device; nothing where no target counts, over which there is no mean, and nobody waits.
std::optional<Learner::CountedBatch> Learner::micro_batch(std::int64_t done,
                                                          std::int64_t number) const {
  const auto examples =
      run_.data->training_examples(first_example(done, number), trainer_.micro_batch_size);
  const auto count = counted(examples);
  if (count == 0 && !layers_) return std::nullopt;
  // It weighs nothing, whatever its targets are; its layers are collected as everywhere.
  if (count == 0) {
    return CountedBatch{to_device({examples.inputs, at::zeros_like(examples.targets)}), 0};
  }
  return CountedBatch{to_device(examples), count};
}

std::optional<Learner::CountedBatch> Learner::next_batch(std::int64_t done, std::int64_t number) {
  const auto ahead = std::exchange(ahead_, std::nullopt);
  if (ahead && ahead->done == done && ahead->number == number) return ahead->batch;
  return micro_batch(done, number);
}

// At the end of a step the host waits for the device: by then what the next one begins with is on
// its way.
void Learner::fetch_ahead(std::int64_t done, std::int64_t number) {
  if (device_.is_cpu() || done >= trainer_.steps) return;
  ahead_ = Ahead{done, number, micro_batch(done, number)};
}

ForwardContext Learner::forward_context(const Step& step, std::int64_t micro_batch) const {
  auto context = trainer_.forward_context();
  context.dropout = make_generator_on(device_, static_cast<std::uint64_t>(run_.config.seed),
                                      RandomStream::dropout, static_cast<std::uint64_t>(step.done),
                                      static_cast<std::uint64_t>(micro_batch));
  context.layer_weights = layers_.get();
  return context;
}

// Labels that the model draws take the place of the targets.
void Learner::sample_labels(Step& step, Batch& batch, std::int64_t micro_batch) const {
  auto context = forward_context(step, micro_batch);
  batch.targets = sampled_labels(
      *model_, batch, context,
      make_generator(static_cast<std::uint64_t>(run_.config.seed), RandomStream::curvature_labels,
                     static_cast<std::uint64_t>(step.done),
                     static_cast<std::uint64_t>(micro_batch)));
  step.watch.lap(step.row.seconds_forward);
}

// Forward and backward of one micro-batch; its gradient is added to the flat buffer. Returns its
// share of the loss.
at::Tensor Learner::add_gradient(Step& step, const CountedBatch& counted,
                                 std::int64_t micro_batch) {
  if (!recorded_) return pass(step, counted, micro_batch);
  const auto loss = recorded_->run(counted.batch, [&](const Batch& batch) {
    return pass(step, {batch, counted.counted}, micro_batch);
  });
  step.watch.lap(step.row.seconds_backward);
  return loss;
}

at::Tensor Learner::pass(Step& step, const CountedBatch& counted, std::int64_t micro_batch) {
  auto context = forward_context(step, micro_batch);
  const auto mean = model_->loss(counted.batch, context);
  // Each target of the step weighs alike. Where all count this is 1 / micro_batches_ to the bit.
  const auto loss =
      counted.counted * micro_batches_ == step.counted
          ? mean / static_cast<double>(micro_batches_)
          : mean * (static_cast<double>(counted.counted) / static_cast<double>(step.counted));
  step.watch.lap(step.row.seconds_forward);
  backward(loss);
  step.watch.lap(step.row.seconds_backward);
  return loss;
}

StepLoss Learner::sum_gradients(Step& step, Targets targets) {
  const auto count = micro_batches_ / ranks_.size();
  StepLoss losses;
  sum_->begin_step();
  if (layers_) layers_->forget_waited();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto number = ranks_.rank() * count + i;
    sum_->begin_micro_batch();
    auto batch =
        targets == Targets::given ? next_batch(step.done, number) : micro_batch(step.done, number);
    step.watch.lap(step.row.seconds_data);
    if (batch && targets == Targets::sampled) sample_labels(step, batch->batch, number);
    batch ? losses.add(add_gradient(step, *batch, number)) : losses.add_nothing();
    sum_->end_micro_batch();
    if (layers_) layers_->end_pass();
  }
  fetch_ahead(step.done + 1, ranks_.rank() * count);
  sum_->end_step();
  step.watch.lap(step.row.seconds_backward);
  return losses;
}

// Over all micro-batches in their order, whichever process has which. With the losses travels how
// long each process has computed.
double Learner::summed(const Step& step) {
  const auto& row = step.row;
  auto own = step.loss.read();
  if (ranks_.is_alone()) return std::accumulate(own.begin(), own.end(), 0.0);
  const auto count = own.size();
  own.push_back(row.seconds_data + row.seconds_forward + row.seconds_backward - sum_->waited() -
                (layers_ ? layers_->waited() : 0.0));
  const auto all = ranks_.gather(own);
  double loss = 0.0;
  std::vector<double> seconds;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool is_time = i % (count + 1) == count;
    is_time ? seconds.push_back(all[i]) : void(loss += all[i]);
  }
  pace_note_ = pace_.add(seconds);
  return loss;
}

// B g^2 with g the mean gradient of B labels that the model samples in the place of the step's
// targets (Liu et al., arXiv 2305.14342, Algorithm 2), from a stream of their own.
void Learner::learn_curvature(Step& step) {
  sum_gradients(step, Targets::sampled);
  optimizer_.gradients().square_().mul_(static_cast<double>(step.counted));
  optimizer_.own().learn_curvature();
}

// All gradients, then the step.
StepReport Learner::update(Step& step) {
  if (optimizer_.own().wants_curvature()) learn_curvature(step);
  step.loss = sum_gradients(step, Targets::given);
  return optimizer_.step(step.row.learning_rate);
}

// Of the whole gradient, by a backward pass that keeps none of it.
double Learner::released_norm(Step& step) {
  double square = 0.0;
  const GradientRelease release(store_, [&](std::size_t, const at::Tensor& gradient) {
    square += optimizer_.own().squared_norm(gradient);
  });
  Step unrecorded{step.done, step.counted, {}, {}, {}};
  if (const auto batch = micro_batch(step.done, 0)) add_gradient(unrecorded, *batch, 0);
  step.watch.lap(step.row.seconds_backward);
  return std::sqrt(square);
}

// Each tensor's step within the backward pass: one micro-batch, as resolve_batch() asks.
StepReport Learner::update_released(Step& step) {
  auto& optimizer = optimizer_.own();
  double scale = 1.0;
  if (optimizer.clipping().needs_norm()) {
    const double norm = released_norm(step);
    if (!std::isfinite(norm)) return {norm, 0.0};
    scale = optimizer.clipping().scale(norm);
  }
  optimizer.begin_step(step.row.learning_rate, scale);
  const GradientRelease release(store_, [&](std::size_t parameter, const at::Tensor& gradient) {
    optimizer.update(parameter, gradient);
  });
  const auto batch = next_batch(step.done, 0);
  step.watch.lap(step.row.seconds_data);
  if (batch) step.loss.add(add_gradient(step, *batch, 0));
  fetch_ahead(step.done + 1, 0);
  return optimizer.end_step();
}

StepRecord Learner::step(std::int64_t done) {
  Stopwatch whole;
  Step step{done, counted_in_step(done), {}, {}, {}};
  auto& row = step.row;
  row.learning_rate = run_.config.optimizer.learning_rate *
                      schedule_fraction(run_.config.schedule, done, trainer_.steps);
  const auto report = sum_ ? update(step) : update_released(step);
  row.loss = summed(step);
  step.watch.lap(row.seconds_optimizer);
  whole.lap(row.seconds);
  row.step = done + 1;
  row.tokens = tokens(row.step);
  row.gradient_norm = report.gradient_norm;
  row.update_norm = report.update_norm;
  row.tokens_per_second = static_cast<double>(tokens_per_step_) / row.seconds;
  return row;
}

// The sum of a batch's losses and its targets, which may be none. Where layers are collected each
// process passes through them as often as the others, also without a batch or a target of its own.
std::pair<double, double> Learner::evaluated(const HeldOutSet& set, std::int64_t number) const {
  const auto size = trainer_.micro_batch_size;
  const auto batches = ceil_divide(set.size, size);
  if (number >= batches && !layers_) return {0.0, 0.0};
  const auto first = std::min(number, batches - 1) * size;
  const auto batch = set.examples(first, std::min(size, set.size - first));
  const auto counts = number < batches ? counted(batch) : 0;
  if (counts == 0 && !layers_) return {0.0, 0.0};
  auto context = trainer_.forward_context();
  context.layer_weights = layers_.get();
  const auto mean = model_->loss(to_device(batch), context);
  if (layers_) layers_->end_pass();
  const auto loss = mean.item<double>();
  return counts == 0 ? std::pair(0.0, 0.0)
                     : std::pair(loss * static_cast<double>(counts), static_cast<double>(counts));
}

// Processes take batches by turns, and add up the same numbers in the same order.
std::optional<MeanLoss> Learner::mean_loss(const HeldOutSet& set, const StopQuery& stop) const {
  at::NoGradGuard no_grad;
  const auto batches = ceil_divide(set.size, trainer_.micro_batch_size);
  const auto rounds = ceil_divide(batches, ranks_.size());
  std::vector<double> sums;  // loss and targets of each batch
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (ranks_.is_alone() && stop()) return std::nullopt;
    const auto [loss, targets] = evaluated(set, round * ranks_.size() + ranks_.rank());
    sums.insert(sums.end(), {loss, targets});
  }
  const auto all = ranks_.gather(sums);
  MeanLoss mean;
  for (std::int64_t number = 0; number < batches; ++number) {
    const auto place = std::size_t(2 * (number % ranks_.size() * rounds + number / ranks_.size()));
    mean.loss += all[place];
    mean.targets += static_cast<std::int64_t>(all[place + 1]);
  }
  require_input(mean.targets > 0, "the mask leaves no target that counts in the {} data", set.name);
  mean.loss /= static_cast<double>(mean.targets);
  return mean;
}

// Of masters that stay with their owners.
void Learner::with_shared_curvature(const std::function<void(Curvature&)>& use) const {
  const auto& config = run_.config.hessian;
  ParameterStore store(run_.layout, device_, config.dtype(), std::nullopt, Gradients::released,
                       shares_.own());
  for (std::size_t i = 0; i < store_.tensors().size(); ++i) {
    store.own_piece(i).values.copy_(store_.own_piece(i).values);
  }
  const auto model = run_.config.model.spec->build(store);
  const auto files = vectors_in_files(run_.config, run_.layout);
  Curvature curvature(*model, store, hessian_batches(config, *run_.data, device_, config.dtype()),
                      config.product_method(), ranks_, shares_.owners());
  measure_only(config.curvature_kind(), curvature);
  use(curvature);
}

void Learner::with_curvature(const std::function<void(Curvature&)>& use) const {
  if (measures_shares(run_.config, ranks_.size())) {
    with_shared_curvature(use);
    return;
  }
  const auto& config = run_.config.hessian;
  ParameterStore store(run_.layout, device_, config.dtype());
  {
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < store_.tensors().size(); ++i) {
      store.set_master(i, optimizer_.master(i));
    }
  }
  const auto model = run_.config.model.spec->build(store);
  const auto files = vectors_in_files(run_.config, run_.layout);
  Curvature curvature(*model, store, hessian_batches(config, *run_.data, device_, config.dtype()),
                      config.product_method(), ranks_);
  measure_only(config.curvature_kind(), curvature);
  use(curvature);
}

}  // namespace blockwise
