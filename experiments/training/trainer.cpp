#include "experiments/training/trainer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "core/base/error.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/curvature/hessian_measurement.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/measured_examples.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/training/continuation.hpp"
#include "experiments/training/divergence.hpp"
#include "experiments/training/energy_counter.hpp"
#include "experiments/training/follower.hpp"
#include "experiments/training/found_on.hpp"
#include "experiments/training/learner.hpp"
#include "experiments/training/memory_plan.hpp"
#include "experiments/training/run_end.hpp"
#include "experiments/training/run_start.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
// Everything one run owns, in the order in which it is built.
class Run {
 public:
  Run(const ResolvedRun& run, RunStart start, const TrainingHooks& hooks, at::Device device,
      int threads, const Ranks& ranks);
  RunOutcome loop();
  // Records that the run failed; the file may be what failed, so this gives up quietly.
  void record_failure(const std::string& message) noexcept;

 private:
  StepRecord train_step();
  void follow_energy(double seconds);
  void evaluate();
  std::vector<std::string> further_names() const;
  bool test();
  bool measurement_due() const;
  void measure();
  void checkpoint();
  void record_costs();
  std::optional<PagingReport> paging() const;
  void mark_best() const;
  bool checkpoint_due() const;
  void find_best(const std::vector<EvaluationRecord>& evaluations);
  bool due(std::int64_t every) const { return every > 0 && step_ % every == 0; }
  RunOutcome end(RunState state, const std::string& message);
  RunOutcome stop();
  Provenance provenance(int threads) const;
  RunHeader header(int threads) const;
  // What the model that the run starts from has beside its weights.
  void keep_source();
  RunRecorder open_recorder(int threads);
  RunRecorder resume_recorder(const fs::path& path, int threads);
  std::optional<HessianTables> hessian_tables() const;

  const ResolvedRun& run_;
  RunStart start_;
  const TrainingHooks& hooks_;
  const TrainerConfig& trainer_;
  fs::path folder_;
  at::Device device_;
  MemoryMeter memory_;  // before everything that holds tensors
  EnergyCounter energy_;
  double seconds_uncounted_ = 0.0;  // of energy_
  Learner learner_;
  const ParameterStore& store_;
  const Optimizer& optimizer_;  // this process' part
  std::int64_t step_ = 0;
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

Run::Run(const ResolvedRun& run, RunStart start, const TrainingHooks& hooks, at::Device device,
         int threads, const Ranks& ranks)
    : run_(run),
      start_(std::move(start)),
      hooks_(hooks),
      trainer_(run.config.trainer),
      folder_(run.config.output),
      device_(device),
      memory_(device),
      learner_(run, start_.identity.history.origin.value_or(RunOrigin{}), device, ranks),
      store_(learner_.store()),
      optimizer_(learner_.optimizer().own()),
      divergence_{0.0, run.data->shape().classes},
      recorder_(open_recorder(threads)) {}

Provenance Run::provenance(int threads) const {
  auto provenance = make_provenance(device_, threads, run_.config.seed);
  provenance.ranks = learner_.ranks().size();
  return provenance;
}

RunHeader Run::header(int threads) const {
  RunHeader header;
  header.config_yaml = start_.identity.config_yaml;
  header.config_hash = start_.identity.hash;
  header.history = start_.identity.history;
  header.first_step = step_ + 1;
  header.provenance = provenance(threads);
  header.parameter_bytes = store_.compute_bytes();
  header.gradient_bytes = learner_.gradient_bytes();
  header.state_bytes = optimizer_bytes_by_kind(optimizer_, store_);
  header.has_test = run_.data->test_set().has_value();
  header.found_on = found_on_seeds(run_.config.optimizer);
  header.validation_names = further_names();
  header.has_norms = trainer_.norms_every > 0;
  header.has_energy = energy_.is_readable();
  header.pages = paging().has_value();
  return header;
}

// A new file, or the old one cut back to the newest checkpoint. Without a checkpoint a stopped run
// starts again from its first step.
RunRecorder Run::open_recorder(int threads) {
  require_labels(run_.config, learner_.model(), optimizer_);
  if (!learner_.shares_note().empty()) fmt::print(stderr, "note: {}\n", learner_.shares_note());
  const auto path = folder_ / "run.h5";
  if (start_.checkpoint) {
    const auto& [folder, step, hashes] = *start_.checkpoint;
    load_checkpoint(folder, step, hashes, learner_.store(), learner_.load_state());
    step_ = step;
  } else {
    start_parameters(run_, learner_.store());
    if (!run_.config.model.from.empty()) keep_source();
  }
  keep_config(folder_, start_.identity.config_yaml);
  if (start_.has_file) return resume_recorder(path, threads);
  return RunRecorder::create(path, header(threads), run_.layout, learner_.optimizer().partition(),
                             hessian_tables());
}

std::optional<HessianTables> Run::hessian_tables() const {
  const auto& config = run_.config.hessian;
  if (!config.while_training()) return std::nullopt;
  auto tables = plan_measurement(config, run_.layout).tables;
  tables.examples = measured_examples(config, *run_.data);
  return tables;
}

void Run::keep_source() {
  const auto source = open_model(run_.config.model.from);
  print_notes(source);
  fs::create_directories(folder_);
  keep_companions(source, run_.config.data.spec->folder(), folder_);
}

RunRecorder Run::resume_recorder(const fs::path& path, int threads) {
  // A run without further steps has them evaluated by its last weights.
  const bool is_at_end = step_ >= trainer_.steps;
  const bool again = is_at_end && !has_last_losses(read_run(path), further_names());
  auto recorder = RunRecorder::resume(
      path, start_.hashes, step_,
      {provenance(threads), start_.identity, &run_.layout, hessian_tables(),
       trainer_.norms_every > 0, run_.data->test_set().has_value(), further_names(), again});
  const auto before = read_run(path);
  if (!before.steps.empty()) {
    divergence_.first_loss = before.steps.front().loss;
    training_loss_ = before.steps.back().loss;  // of a run that takes no step any more
  }
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

// Often enough for counters that start again, and not at every step.
void Run::follow_energy(double seconds) {
  constexpr double kEvery = 10.0;
  seconds_uncounted_ += seconds;
  if (seconds_uncounted_ < kEvery) return;
  energy_.count();
  seconds_uncounted_ = 0.0;
}

StepRecord Run::train_step() {
  lead(learner_.ranks(), RankCommand::step);
  const auto row = learner_.step(step_);
  if (!learner_.pace_note().empty()) fmt::print(stderr, "note: {}\n", learner_.pace_note());
  if (trainer_.norms_every > 0 && row.step % trainer_.norms_every == 0) {
    lead(learner_.ranks(), RankCommand::norms);
    recorder_.record(learner_.optimizer().norms(row.step));
  }
  follow_energy(row.seconds);
  step_ = row.step;
  return row;
}

// Of the validation set, and of further ones for the record. What a signal stops is left out and
// done again by the process that goes on.
void Run::evaluate() {
  if (evaluated_step_ == step_) return;
  Stopwatch watch;
  EvaluationRecord row;
  lead(learner_.ranks(), RankCommand::evaluate);
  const auto mean = learner_.mean_loss(run_.data->validation_set(), hooks_.stop);
  if (!mean) return;
  NamedLosses named;
  for (const auto& set : run_.data->further_validation_sets()) {
    const auto further = learner_.mean_loss(set, hooks_.stop);
    if (!further) return;
    named[set.name] = further->loss;
  }
  row.loss = validation_loss_ = mean->loss;
  watch.lap(row.seconds);
  row.step = step_;
  row.tokens = learner_.tokens(step_);
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
  lead(learner_.ranks(), RankCommand::test);
  const auto mean = learner_.mean_loss(*set, hooks_.stop);
  if (!mean) return false;
  TestRecord row{step_,      learner_.tokens(step_), mean->targets,
                 mean->loss, std::exp(mean->loss),   0.0};
  watch.lap(row.seconds);
  recorder_.record(row);
  return true;
}

bool Run::measurement_due() const {
  return run_.config.hessian.due(step_) && measured_step_ < step_;
}

// Curvature at the present parameters where it is due. A run that is continued from this step has
// the rows already, or measures again.
void Run::measure() {
  if (!measurement_due()) return;
  const auto& config = run_.config.hessian;
  HessianRows all;
  const MeasurementSinks sinks = {[&](const HessianRows& rows) { all.append(rows); }, {}, {}, {},
                                  [&] { return memory_.peak_allocated(); },           {}};
  const auto tables = plan_measurement(config, run_.layout).tables;
  bool is_whole = false;
  lead(learner_.ranks(), RankCommand::measure);
  learner_.with_curvature([&](Curvature& curvature) {
    const BasisKeepers keepers(learner_.ranks(), [&] { curvature.lead_beside(); });
    const auto* others = learner_.ranks().is_alone() ? nullptr : &keepers;
    is_whole =
        measure_hessian({config, tables, curvature, step_, {}, others}, {}, sinks, hooks_.stop);
  });
  if (!is_whole) return;
  recorder_.record(all);
  measured_step_ = step_;
}

bool Run::checkpoint_due() const {
  const bool is_best = trainer_.keep_best && best_step_ == step_;
  return due(trainer_.checkpoint_every) || due(trainer_.keep_every) || is_best;
}

// Rows first, then the marker: whatever a checkpoint promises to continue is in the run file.
void Run::checkpoint() {
  record_costs();
  recorder_.flush();
  const KeptCheckpoints keep{trainer_.keep_checkpoints, trainer_.keep_every};
  const auto data = run_.config.data.spec->folder().string();
  // Other ranks hand in their shares.
  const auto before = [this](std::int64_t number) {
    lead(learner_.ranks(), RankCommand::collect);
    learner_.ranks().number_of_first(number);
  };
  const auto& optimizer = learner_.optimizer();
  write_checkpoint(
      folder_, step_, keep,
      {start_.identity, *run_.config.model.spec, data, store_.layout(), optimizer.partition(),
       optimizer.parameter_tensors(before), optimizer.state_tensors(before)});
  optimizer_.state().evict();
  store_.evict();
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
  lead_end(learner_.ranks(), state);
  record_costs();
  recorder_.set_status(state, message, step_);
  recorder_.close();
  return {state, step_, training_loss_, validation_loss_, message, paging()};
}

// Of the optimizer's state and the masters, as far as either is in a file.
std::optional<PagingReport> Run::paging() const {
  std::optional<PagingReport> sum;
  for (const auto* pages : {optimizer_.state().pages(), store_.pages()}) {
    if (pages != nullptr) sum = sum.value_or(PagingReport{}) + pages->report();
  }
  return sum;
}

void Run::record_costs() {
  recorder_.record_memory(memory_.peak_allocated(), peak_resident_bytes());
  recorder_.record_energy(energy_.count());
  recorder_.record_state(optimizer_bytes_by_kind(optimizer_, store_));
  if (const auto report = paging()) recorder_.record_paging(*report);
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
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  RunOutcome outcome{result.state, result.last_step, kNone, kNone, result.message};
  if (!result.steps.empty()) outcome.training_loss = result.steps.back().loss;
  if (!result.evaluations.empty()) outcome.validation_loss = result.evaluations.back().loss;
  return outcome;
}

}  // namespace

RunOutcome train(const ResolvedRun& run, const TrainingHooks& hooks, const Ranks& ranks) {
  const auto device = resolve_device(run.config.trainer.device);
  const int threads = set_threads(run.config.trainer.threads);
  if (!ranks.is_first()) return follow(run, device, ranks);
  const OutputFolder taken(run.config.output);
  auto start = start_run(run);
  lead_start(ranks, start);
  if (start.over) return outcome_of(*start.over);
  Run work(run, std::move(start), hooks, device, threads, ranks);
  try {
    return work.loop();
  } catch (const std::exception& error) {
    work.record_failure(error.what());
    throw;
  }
}

}  // namespace blockwise
