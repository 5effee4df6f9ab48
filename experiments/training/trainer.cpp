#include "experiments/training/trainer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "core/parameters/gradient_release.hpp"
#include "core/sampled_labels.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/hessian_measurement.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/measured_examples.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/training/continuation.hpp"
#include "experiments/training/divergence.hpp"
#include "experiments/training/energy_counter.hpp"
#include "experiments/training/found_on.hpp"
#include "experiments/training/memory_plan.hpp"
#include "experiments/training/run_end.hpp"
#include "experiments/training/run_start.hpp"
#include "experiments/training/step_loss.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Adds the seconds since the last lap to a counter.
class Stopwatch {
 public:
  void lap(double& counter) {
    const auto now = Clock::now();
    counter += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  Clock::time_point last_ = Clock::now();
};

// On the device; its targets that count, of those that it has.
struct CountedBatch {
  Batch batch;
  std::int64_t counted;
};

// What a step gathers while it is made.
struct StepWork {
  StepRecord row;
  StepLoss loss;
  Stopwatch watch;
  std::int64_t counted = 0;  // targets of all its micro-batches
};

// Everything one run owns, in the order in which it is built.
class Run {
 public:
  Run(const ResolvedRun& run, RunStart start, const TrainingHooks& hooks, at::Device device,
      int threads);
  RunOutcome loop();
  // Records that the run failed; the file may be what failed, so this gives up quietly.
  void record_failure(const std::string& message) noexcept;

 private:
  StepRecord train_step();
  void follow_energy(double seconds);
  std::int64_t counted(const Batch& batch) const;
  std::int64_t counted_in_step() const;
  // Of one micro-batch of the step, on the device; nothing where no target counts.
  std::optional<CountedBatch> micro_batch(std::int64_t number) const;
  ForwardContext forward_context(std::int64_t micro_batch) const;
  at::Tensor add_gradient(StepWork& work, const CountedBatch& batch, std::int64_t micro_batch);
  void accumulate(StepWork& work, std::int64_t micro_batch);
  void learn_curvature(StepWork& work);
  StepReport update(StepWork& work);
  double released_norm(std::int64_t counted_all);
  StepReport update_released(StepWork& work);
  // A function of the step alone, which is what makes resuming exact.
  std::int64_t first_example(std::int64_t micro_batch) const {
    const auto cycle = trainer_.overfit_batches;
    const auto batch = cycle == 0 ? step_ - origin_.step : step_ % cycle;
    const auto first = cycle == 0 ? origin_.first_example : 0;
    return first + (batch * micro_batches_ + micro_batch) * trainer_.micro_batch_size;
  }
  std::int64_t tokens() const { return origin_.tokens + (step_ - origin_.step) * tokens_per_step_; }
  Batch to_device(const Batch& batch) const;
  struct MeanLoss {
    double loss;
    std::int64_t targets;
  };
  std::optional<MeanLoss> mean_loss(const HeldOutSet& set) const;
  void evaluate();
  std::vector<std::string> further_names() const;
  bool test();
  bool measurement_due() const;
  void measure();
  void checkpoint();
  void mark_best() const;
  bool checkpoint_due() const;
  void find_best(const std::vector<EvaluationRecord>& evaluations);
  bool due(std::int64_t every) const { return every > 0 && step_ % every == 0; }
  RunOutcome end(RunState state, const std::string& message);
  RunOutcome stop();
  RunHeader header(int threads) const;
  void start_parameters();
  RunRecorder open_recorder(int threads);
  RunRecorder resume_recorder(const fs::path& path, int threads);
  std::optional<HessianTables> hessian_tables() const;

  const ResolvedRun& run_;
  RunStart start_;
  const TrainingHooks& hooks_;
  RunOrigin origin_;  // of a run that starts from another; otherwise all 0
  const TrainerConfig& trainer_;
  fs::path folder_;
  at::Device device_;
  MemoryMeter memory_;  // before everything that holds tensors
  EnergyCounter energy_;
  double seconds_uncounted_ = 0.0;  // of energy_
  ParameterStore store_;
  std::unique_ptr<Model> model_;
  Optimizer optimizer_;
  std::int64_t step_ = 0;
  std::int64_t micro_batches_;
  std::int64_t tokens_per_step_;
  DivergenceScale divergence_;
  double training_loss_ = std::numeric_limits<double>::quiet_NaN();
  double validation_loss_ = std::numeric_limits<double>::quiet_NaN();
  std::int64_t evaluated_step_ = -1;
  std::int64_t measured_step_ = -1;
  std::int64_t tested_step_ = -1;
  // The lowest validation loss behind which there is a checkpoint, or will be: trainer.keep_best.
  double best_loss_ = std::numeric_limits<double>::infinity();
  std::int64_t best_step_ = -1;
  RunRecorder recorder_;
};

// State that is not in memory is beside the run's file, unless the configuration says where.
OptimizerConfig with_state_in(OptimizerConfig config, const fs::path& folder) {
  if (config.state.is_paged() && config.state.folder.empty()) {
    fs::create_directories(folder);
    config.state.folder = folder.string();
  }
  return config;
}

Run::Run(const ResolvedRun& run, RunStart start, const TrainingHooks& hooks, at::Device device,
         int threads)
    : run_(run),
      start_(std::move(start)),
      hooks_(hooks),
      origin_(start_.identity.history.origin.value_or(RunOrigin{})),
      trainer_(run.config.trainer),
      folder_(run.config.output),
      device_(device),
      memory_(device),
      store_(run.layout, device, at::kFloat, trainer_.mixed_precision(),
             trainer_.gradient_storage()),
      model_(run.config.model.spec->build(store_)),
      optimizer_(with_state_in(run.config.optimizer, folder_), store_,
                 static_cast<std::uint64_t>(run.config.seed)),
      micro_batches_(trainer_.global_batch_tokens /
                     (trainer_.micro_batch_size * run.data->shape().sequence_length)),
      tokens_per_step_(trainer_.global_batch_tokens),
      divergence_{0.0, run.data->shape().classes},
      recorder_(open_recorder(threads)) {}

RunHeader Run::header(int threads) const {
  RunHeader header;
  header.config_yaml = start_.identity.config_yaml;
  header.config_hash = start_.identity.hash;
  header.history = start_.identity.history;
  header.first_step = step_ + 1;
  header.provenance = make_provenance(device_, threads, run_.config.seed);
  header.parameter_bytes = store_.compute_bytes();
  header.gradient_bytes = store_.gradient_bytes();
  header.state_bytes = optimizer_bytes_by_kind(optimizer_, store_);
  header.has_test = run_.data->test_set().has_value();
  header.found_on = found_on_seeds(run_.config.optimizer);
  header.validation_names = further_names();
  header.has_norms = trainer_.norms_every > 0;
  header.has_energy = energy_.is_readable();
  return header;
}

// A new file, or the old one cut back to the newest checkpoint. Without a checkpoint a stopped run
// starts again from its first step.
RunRecorder Run::open_recorder(int threads) {
  require_labels(run_.config, *model_, optimizer_);
  const auto path = folder_ / "run.h5";
  if (start_.checkpoint) {
    const auto& [folder, step, hashes] = *start_.checkpoint;
    load_checkpoint(folder, step, hashes, store_, optimizer_);
    step_ = step;
  } else {
    start_parameters();
  }
  keep_config(folder_, start_.identity.config_yaml);
  if (start_.has_file) return resume_recorder(path, threads);
  return RunRecorder::create(path, header(threads), run_.layout, optimizer_.partition(),
                             hessian_tables());
}

std::optional<HessianTables> Run::hessian_tables() const {
  const auto& config = run_.config.hessian;
  if (!config.while_training()) return std::nullopt;
  auto tables = plan_measurement(config, run_.layout).tables;
  tables.examples = measured_examples(config, *run_.data);
  return tables;
}

void Run::start_parameters() {
  if (run_.config.model.from.empty()) {
    store_.initialize(static_cast<std::uint64_t>(run_.config.seed));
  } else {
    const auto source = open_model(run_.config.model.from);
    print_notes(source);
    source.load(store_);
    fs::create_directories(folder_);
    keep_companions(source, run_.config.data.spec->folder(), folder_);
  }
}

RunRecorder Run::resume_recorder(const fs::path& path, int threads) {
  // A run without further steps has them evaluated by its last weights.
  const bool is_at_end = step_ >= trainer_.steps;
  const bool again = is_at_end && !has_last_losses(read_run(path), further_names());
  auto recorder =
      RunRecorder::resume(path, start_.hashes, step_,
                          {make_provenance(device_, threads, run_.config.seed), start_.identity,
                           &run_.layout, hessian_tables(), trainer_.norms_every > 0,
                           run_.data->test_set().has_value(), further_names(), again});
  const auto before = read_run(path);
  if (!before.steps.empty()) divergence_.first_loss = before.steps.front().loss;
  const auto& evaluations = before.evaluations;
  if (before.test) tested_step_ = before.test->step;
  if (!before.hessian.summary.empty()) measured_step_ = before.hessian.summary.back().step;
  find_best(evaluations);
  mark_best();
  if (!evaluations.empty()) {
    evaluated_step_ = evaluations.back().step;
    validation_loss_ = evaluations.back().loss;
  }
  return recorder;
}

// Of those that have their checkpoint still: a run that was killed between a checkpoint and its
// mark has it marked before the next one is written, which removes what is unmarked.
void Run::find_best(const std::vector<EvaluationRecord>& evaluations) {
  for (const auto step : checkpoint_steps(folder_)) {
    const auto row = std::ranges::find(evaluations, step, &EvaluationRecord::step);
    if (step == 0 || row == evaluations.end() || !(row->loss < best_loss_)) continue;
    best_loss_ = row->loss;
    best_step_ = step;
  }
}

// From pinned memory, so that the host does not wait for what the device is at.
Batch Run::to_device(const Batch& batch) const {
  if (device_.is_cpu()) return batch;
  const auto moved = [this](const at::Tensor& x) {
    return x.pin_memory().to(device_, x.scalar_type(), /*non_blocking=*/true);
  };
  return {moved(batch.inputs), moved(batch.targets)};
}

// Targets that count.
std::int64_t Run::counted(const Batch& batch) const {
  if (!run_.data->ignores_targets()) return batch.tokens();
  return batch.targets.ne(kIgnoredTarget).sum().item<std::int64_t>();
}

// Of the whole step, which the loss is the mean over, however it is cut into micro-batches.
std::int64_t Run::counted_in_step() const {
  if (!run_.data->ignores_targets()) return tokens_per_step_;
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    sum += counted(run_.data->training_examples(first_example(i), trainer_.micro_batch_size));
  }
  require_input(sum > 0,
                "the mask leaves no target that counts in step {}: trainer.global_batch_tokens is "
                "{}, larger is better",
                step_ + 1, tokens_per_step_);
  return sum;
}

// A mean over nothing is not a number.
std::optional<CountedBatch> Run::micro_batch(std::int64_t number) const {
  const auto examples =
      run_.data->training_examples(first_example(number), trainer_.micro_batch_size);
  const auto count = counted(examples);
  if (count == 0) return std::nullopt;
  return CountedBatch{to_device(examples), count};
}

ForwardContext Run::forward_context(std::int64_t micro_batch) const {
  auto context = trainer_.forward_context();
  context.dropout =
      make_generator(static_cast<std::uint64_t>(run_.config.seed), RandomStream::dropout,
                     static_cast<std::uint64_t>(step_), static_cast<std::uint64_t>(micro_batch));
  return context;
}

// Forward and backward of one micro-batch; its gradient is added to the flat buffer. Returns its
// share of the loss.
at::Tensor Run::add_gradient(StepWork& work, const CountedBatch& counted,
                             std::int64_t micro_batch) {
  auto context = forward_context(micro_batch);
  const auto mean = model_->loss(counted.batch, context);
  // Each target of the step weighs alike. Where all count this is 1 / micro_batches_ to the bit.
  const auto loss =
      counted.counted * micro_batches_ == work.counted
          ? mean / static_cast<double>(micro_batches_)
          : mean * (static_cast<double>(counted.counted) / static_cast<double>(work.counted));
  work.watch.lap(work.row.seconds_forward);
  backward(loss);
  work.watch.lap(work.row.seconds_backward);
  return loss;
}

void Run::accumulate(StepWork& work, std::int64_t number) {
  const auto batch = micro_batch(number);
  work.watch.lap(work.row.seconds_data);
  if (batch) work.loss.add(add_gradient(work, *batch, number));
}

// B g^2 with g the mean gradient of B labels that the model samples in the place of the step's
// targets (Liu et al., arXiv 2305.14342, Algorithm 2), from a stream of their own.
void Run::learn_curvature(StepWork& work) {
  store_.zero_gradients();
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    auto batch = micro_batch(i);
    work.watch.lap(work.row.seconds_data);
    if (!batch) continue;
    auto context = forward_context(i);
    batch->batch.targets = sampled_labels(
        *model_, batch->batch, context,
        make_generator(static_cast<std::uint64_t>(run_.config.seed), RandomStream::curvature_labels,
                       static_cast<std::uint64_t>(step_), static_cast<std::uint64_t>(i)));
    work.watch.lap(work.row.seconds_forward);
    add_gradient(work, *batch, i);
  }
  store_.gradients().square_().mul_(static_cast<double>(work.counted));
  optimizer_.learn_curvature();
}

// All gradients, then the step.
StepReport Run::update(StepWork& work) {
  if (optimizer_.wants_curvature()) learn_curvature(work);
  store_.zero_gradients();
  for (std::int64_t i = 0; i < micro_batches_; ++i) accumulate(work, i);
  return optimizer_.step(work.row.learning_rate);
}

// Of the whole gradient, by a backward pass that keeps none of it.
double Run::released_norm(std::int64_t counted_all) {
  double square = 0.0;
  const GradientRelease release(store_, [&](std::size_t, const at::Tensor& gradient) {
    square += optimizer_.squared_norm(gradient);
  });
  StepWork unrecorded;
  unrecorded.counted = counted_all;
  accumulate(unrecorded, 0);
  return std::sqrt(square);
}

// Each tensor's step within the backward pass: one micro-batch, as resolve_batch() asks.
StepReport Run::update_released(StepWork& work) {
  double scale = 1.0;
  if (optimizer_.clipping().needs_norm()) {
    const double norm = released_norm(work.counted);
    work.watch.lap(work.row.seconds_backward);
    if (!std::isfinite(norm)) return {norm, 0.0};
    scale = optimizer_.clipping().scale(norm);
  }
  optimizer_.begin_step(work.row.learning_rate, scale);
  const GradientRelease release(store_, [&](std::size_t parameter, const at::Tensor& gradient) {
    optimizer_.update(parameter, gradient);
  });
  accumulate(work, 0);
  return optimizer_.end_step();
}

// Often enough for counters that start again, and not at every step.
void Run::follow_energy(double seconds) {
  constexpr double kEvery = 10.0;
  seconds_uncounted_ += seconds;
  if (seconds_uncounted_ < kEvery) return;
  energy_.count();
  seconds_uncounted_ = 0.0;
}

StepRecord Run::train_step() {
  Stopwatch whole;
  StepWork work;
  auto& row = work.row;
  work.counted = counted_in_step();
  row.learning_rate = run_.config.optimizer.learning_rate *
                      schedule_fraction(run_.config.schedule, step_, trainer_.steps);
  const auto report = store_.releases_gradients() ? update_released(work) : update(work);
  row.loss = work.loss.read();
  if (trainer_.norms_every > 0 && (step_ + 1) % trainer_.norms_every == 0) {
    auto norms = measure_norms(store_, optimizer_.squared_updates(), step_ + 1);
    norms.rate = optimizer_.learning_rates();
    recorder_.record(std::move(norms));
  }
  work.watch.lap(row.seconds_optimizer);
  whole.lap(row.seconds);
  follow_energy(row.seconds);
  row.step = ++step_;
  row.tokens = tokens();
  row.gradient_norm = report.gradient_norm;
  row.update_norm = report.update_norm;
  row.tokens_per_second = static_cast<double>(tokens_per_step_) / row.seconds;
  return row;
}

// Each target that counts weighted alike. Nothing where it is stopped.
std::optional<Run::MeanLoss> Run::mean_loss(const HeldOutSet& set) const {
  at::NoGradGuard no_grad;
  double sum = 0.0;
  std::int64_t targets = 0;
  auto context = trainer_.forward_context();
  for (std::int64_t first = 0; first < set.size;) {
    const auto count = std::min(trainer_.micro_batch_size, set.size - first);
    const auto batch = set.examples(first, count);
    first += count;
    const auto counts = counted(batch);
    if (counts == 0) continue;
    if (hooks_.stop()) return std::nullopt;
    const auto loss = model_->loss(to_device(batch), context).item<double>();
    sum += loss * static_cast<double>(counts);
    targets += counts;
  }
  require_input(targets > 0, "the mask leaves no target that counts in the {} data", set.name);
  return MeanLoss{sum / static_cast<double>(targets), targets};
}

// Of the validation set, and of further ones for the record. What a signal stops is left out and
// done again by the process that goes on.
void Run::evaluate() {
  if (evaluated_step_ == step_) return;
  Stopwatch watch;
  EvaluationRecord row;
  const auto mean = mean_loss(run_.data->validation_set());
  if (!mean) return;
  NamedLosses named;
  for (const auto& set : run_.data->further_validation_sets()) {
    const auto further = mean_loss(set);
    if (!further) return;
    named[set.name] = further->loss;
  }
  row.loss = validation_loss_ = mean->loss;
  watch.lap(row.seconds);
  row.step = step_;
  row.tokens = tokens();
  row.perplexity = std::exp(row.loss);
  evaluated_step_ = step_;
  recorder_.record(row, named);
  if (step_ > 0 && row.loss < best_loss_) {
    best_loss_ = row.loss;
    best_step_ = step_;
  }
}

// Of the further validation sets.
std::vector<std::string> Run::further_names() const {
  std::vector<std::string> names;
  for (auto& set : run_.data->further_validation_sets()) names.push_back(std::move(set.name));
  return names;
}

// Over the test set, once the last step is done: nothing here looks at it. False where a signal
// stops it.
bool Run::test() {
  const auto set = run_.data->test_set();
  if (!set || tested_step_ == step_) return true;
  Stopwatch watch;
  const auto mean = mean_loss(*set);
  if (!mean) return false;
  TestRecord row{step_, tokens(), mean->targets, mean->loss, std::exp(mean->loss), 0.0};
  watch.lap(row.seconds);
  recorder_.record(row);
  return true;
}

bool Run::measurement_due() const {
  return run_.config.hessian.due(step_) && measured_step_ < step_;
}

// Curvature at the present parameters where it is due, on a copy of them: nothing of the run's own
// changes. A run that is continued from this step has the rows already, or measures again.
void Run::measure() {
  if (!measurement_due()) return;
  const auto& config = run_.config.hessian;
  ParameterStore store(run_.layout, device_, config.dtype());
  {
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < store_.tensors().size(); ++i) store.set_master(i, store_.master(i));
  }
  const auto model = run_.config.model.spec->build(store);
  Curvature curvature(*model, store, hessian_batches(config, *run_.data, device_, config.dtype()),
                      config.product_method());
  HessianRows all;
  const MeasurementSinks sinks = {[&](const HessianRows& rows) { all.append(rows); }, {}, {}, {},
                                  [&] { return memory_.peak_allocated(); },           {}};
  const auto tables = plan_measurement(config, run_.layout).tables;
  if (!measure_hessian({config, tables, curvature, step_}, {}, sinks, hooks_.stop)) return;
  recorder_.record(all);
  measured_step_ = step_;
}

bool Run::checkpoint_due() const {
  const bool is_best = trainer_.keep_best && best_step_ == step_;
  return due(trainer_.checkpoint_every) || due(trainer_.keep_every) || is_best;
}

// Rows first, then the marker: whatever a checkpoint promises to continue is in the run file.
void Run::checkpoint() {
  recorder_.record_memory(memory_.peak_allocated(), peak_resident_bytes());
  recorder_.record_energy(energy_.count());
  recorder_.record_state(optimizer_bytes_by_kind(optimizer_, store_));
  recorder_.flush();
  const KeptCheckpoints keep{trainer_.keep_checkpoints, trainer_.keep_every};
  const auto data = run_.config.data.spec->folder().string();
  write_checkpoint(folder_, step_, keep,
                   {start_.identity, *run_.config.model.spec, data, store_, optimizer_});
  optimizer_.state().evict();
  mark_best();
}

void Run::mark_best() const {
  std::error_code unknown;
  if (trainer_.keep_best && best_step_ > 0 &&
      fs::is_directory(checkpoint_folder(folder_, best_step_), unknown)) {
    mark_best_checkpoint(folder_, best_step_);
  }
}

RunOutcome Run::end(RunState state, const std::string& message) {
  recorder_.record_memory(memory_.peak_allocated(), peak_resident_bytes());
  recorder_.record_energy(energy_.count());
  recorder_.record_state(optimizer_bytes_by_kind(optimizer_, store_));
  recorder_.set_status(state, message, step_);
  recorder_.close();
  const auto* pages = optimizer_.state().pages();
  return {state,          step_,
          training_loss_, validation_loss_,
          message,        pages != nullptr ? std::optional(pages->report()) : std::nullopt};
}

// Whatever checkpoint_every says: the next process goes on from here.
RunOutcome Run::stop() {
  checkpoint();
  return end(RunState::interrupted,
             fmt::format("stopped by {} after step {}", hooks_.stopped_by(), step_));
}

RunOutcome Run::loop() {
  store_.check_gradient_views();
  if (start_.forked) checkpoint();  // from now on the other run may go
  const bool is_due = due(trainer_.evaluate_every) && !start_.forked;
  if (step_ == 0 || is_due) evaluate();
  measure();
  while (step_ < trainer_.steps || measurement_due()) {
    if (hooks_.stop()) return stop();
    const auto row = train_step();
    training_loss_ = row.loss;
    recorder_.record(row);
    hooks_.step(row);
    if (divergence_.first_loss == 0.0) divergence_.first_loss = row.loss;
    const auto reason = divergence_reason(trainer_, divergence_, row.loss, row.gradient_norm);
    if (!reason.empty()) {
      return end(RunState::diverged, fmt::format("at step {}: {}", step_, reason));
    }
    if (due(trainer_.evaluate_every)) evaluate();
    measure();
    if (checkpoint_due()) checkpoint();
  }
  evaluate();
  if (evaluated_step_ != step_ || !test()) return stop();
  checkpoint();
  return end(RunState::finished, "");
}

void Run::record_failure(const std::string& message) noexcept {
  try {
    recorder_.set_status(RunState::failed, message, step_);
    recorder_.close();
  } catch (const std::exception&) {
  }
}

RunOutcome outcome_of(const RunResult& result) {
  RunOutcome outcome{result.state, result.last_step, 0.0, 0.0, result.message};
  if (!result.steps.empty()) outcome.training_loss = result.steps.back().loss;
  if (!result.evaluations.empty()) outcome.validation_loss = result.evaluations.back().loss;
  return outcome;
}

}  // namespace

RunOutcome train(const ResolvedRun& run, const TrainingHooks& hooks) {
  const fs::path folder = run.config.output;
  const OutputFolder taken(folder);
  auto start = start_run(run);
  if (start.over) return outcome_of(*start.over);
  const auto device = resolve_device(run.config.trainer.device);
  const int threads = set_threads(run.config.trainer.threads);
  Run work(run, std::move(start), hooks, device, threads);
  try {
    return work.loop();
  } catch (const std::exception& error) {
    work.record_failure(error.what());
    throw;
  }
}

}  // namespace blockwise
