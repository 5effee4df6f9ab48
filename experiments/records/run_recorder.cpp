#include "experiments/records/run_recorder.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/base/error.hpp"
#include "core/io/growing_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/file_header.hpp"
#include "experiments/records/hdf5_table.hpp"
#include "experiments/records/hessian_row_checks.hpp"
#include "experiments/records/named_losses.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kFoundOn = "/found_on/seed";
constexpr std::size_t kBufferedRows = 64;
constexpr auto kLongestWait = std::chrono::seconds(2);

}  // namespace

template <>
struct Table<StepRecord> {
  static constexpr const char* group = "/steps";
  using R = StepRecord;
  static constexpr RowColumn<R> columns[] = {
      {"step", &R::step, "1", "optimizer steps done, this one included"},
      {"tokens", &R::tokens, "tokens", "training tokens seen, this step's included"},
      {"loss", &R::loss, "nats", "mean training loss per token of this step's batch"},
      {"learning_rate", &R::learning_rate, "1", "learning rate of this step"},
      {"grad_norm", &R::gradient_norm, "1", "L2 norm of the gradient before clipping"},
      {"update_norm", &R::update_norm, "1", "L2 norm of the change of the parameters"},
      {"seconds", &R::seconds, "s", "wall time of the step"},
      {"seconds_data", &R::seconds_data, "s", "wall time of reading the batch"},
      {"seconds_forward", &R::seconds_forward, "s", "wall time of the forward passes"},
      {"seconds_backward", &R::seconds_backward, "s", "wall time of the backward passes"},
      {"seconds_optimizer", &R::seconds_optimizer, "s", "wall time of clipping and update"},
      {"tokens_per_second", &R::tokens_per_second, "tokens/s", "training tokens per wall second"}};
};

template <>
struct Table<EvaluationRecord> {
  static constexpr const char* group = "/evaluations";
  using R = EvaluationRecord;
  static constexpr RowColumn<R> columns[] = {
      {"step", &R::step, "1", "optimizer steps done before the evaluation"},
      {"tokens", &R::tokens, "tokens", "training tokens seen before the evaluation"},
      {"loss", &R::loss, "nats", "mean validation loss per token"},
      {"perplexity", &R::perplexity, "1", "exp(loss)"},
      {"seconds", &R::seconds, "s", "wall time of the evaluation"}};
};

template <>
struct Table<TestRecord> {
  static constexpr const char* group = "/test";
  using R = TestRecord;
  static constexpr RowColumn<R> columns[] = {
      {"step", &R::step, "1", "optimizer steps done before the test"},
      {"tokens", &R::tokens, "tokens", "training tokens seen before the test"},
      {"targets", &R::targets, "tokens", "targets of the test set"},
      {"loss", &R::loss, "nats", "mean test loss per token"},
      {"perplexity", &R::perplexity, "1", "exp(loss)"},
      {"seconds", &R::seconds, "s", "wall time of the test"}};
};

namespace {

void write_memory(Hdf5File& file, const RunHeader& header) {
  std::int64_t state = 0;
  for (const auto& [kind, bytes] : header.state_bytes) state += bytes;
  file.create_group("/memory");
  const auto create = [&](const std::string& name, std::int64_t bytes, const std::string& doc) {
    file.create_integer("/memory/" + name, bytes, "bytes", doc);
  };
  create("parameters", header.parameter_bytes, "tensor bytes of the parameters");
  create("gradients", header.gradient_bytes, "tensor bytes of the gradients");
  create("optimizer_state", state, "tensor bytes of the optimizer's state, all kinds together");
  create("peak_allocated", 0, "highest tensor bytes allocated at one time");
  create("peak_resident", 0, "highest resident set of the process");
  file.create_group("/memory/state");
  for (const auto& [kind, bytes] : header.state_bytes) {
    create("state/" + kind, bytes, "tensor bytes of the optimizer's state of this kind");
  }
}

// The rows of /partition: a section of a tensor each.
struct PartitionRow {
  const Parameter* block;
  const PartitionSection* section;
};

std::vector<PartitionRow> section_rows(const ParameterLayout& layout, const Partition& partition) {
  check_equal(partition.tensors().size(), layout.parameters().size(), "tensors of the partition");
  std::vector<PartitionRow> rows;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    for (const auto& section : partition.tensors()[i].sections) {
      rows.push_back({&layout.parameters()[i], &section});
    }
  }
  return rows;
}

void write_partition(Hdf5File& file, const ParameterLayout& layout, const Partition& partition) {
  const auto rows = section_rows(layout, partition);
  file.create_group("/partition");
  file.set_attribute("/partition", "rule", partition.rule());
  const auto texts = [&](const std::string& name, const char* doc, auto value) {
    std::vector<std::string> values;
    for (const auto& [block, section] : rows) values.emplace_back(value(*block, *section));
    file.write_text_column("/partition/" + name, values, "text", doc);
  };
  const auto numbers = [&](const std::string& name, const char* doc, auto value) {
    std::vector<std::int64_t> values;
    for (const auto& [block, section] : rows) values.push_back(value(*block, *section));
    file.create_integer_column("/partition/" + name, "1", doc);
    file.append("/partition/" + name, values);
  };
  texts("tensor", "name of the tensor", [](auto& b, auto&) { return b.name; });
  texts("role", "what the section is in the model",
        [](auto&, auto& s) { return role_name(s.role); });
  texts("rule", "partition rule that chose the structure", [](auto&, auto& s) { return s.rule; });
  texts("structure", "how the section's elements share second moments",
        [](auto&, auto& s) { return structure_name(s.structure.kind); });
  numbers("layer", "layer, -1 outside the layers", [](auto& b, auto&) { return b.layer; });
  numbers("row_begin", "first row of the tensor", [](auto&, auto& s) { return s.row_begin; });
  numbers("rows", "rows of the section", [](auto&, auto& s) { return s.rows; });
  numbers("columns", "columns of the section", [](auto&, auto& s) { return s.columns; });
  numbers("tile_rows", "rows of a tile or of a factored group",
          [](auto&, auto& s) { return std::min(s.structure.tile_rows, s.rows); });
  numbers("tile_columns", "columns of a tile",
          [](auto&, auto& s) { return std::min(s.structure.tile_columns, s.columns); });
  numbers("blocks", "groups of elements that share a value",
          [](auto&, auto& s) { return s.block_count(); });
  numbers("state_elements", "values held for the section",
          [](auto&, auto& s) { return s.state_size(); });
}

// The machine's, over all processes of the run. Counters that stopped being readable leave -1.
constexpr const char* kEnergy = "/energy/microjoules";
constexpr std::int64_t kUnknownEnergy = -1;

std::optional<std::int64_t> read_energy(const Hdf5File& file) {
  if (!file.has(kEnergy)) return std::nullopt;
  const auto total = file.integer(kEnergy);
  return total == kUnknownEnergy ? std::nullopt : std::optional(total);
}

// Of what only the optimizer needs and is in a file, over all processes of the run.
constexpr const char* kPagesRead = "/paging/bytes_read";
constexpr const char* kPagesWritten = "/paging/bytes_written";
constexpr const char* kPagesWaited = "/paging/microseconds_waited";

void write_paging(Hdf5File& file) {
  file.create_group("/paging");
  file.create_integer(kPagesRead, 0, "bytes", "brought back into memory");
  file.create_integer(kPagesWritten, 0, "bytes", "written out of memory");
  file.create_integer(kPagesWaited, 0, "us", "that steps waited for either");
}

std::optional<PagingReport> read_paging(const Hdf5File& file) {
  if (!file.has(kPagesRead)) return std::nullopt;
  return PagingReport{file.integer(kPagesRead), file.integer(kPagesWritten),
                      double(file.integer(kPagesWaited)) / 1e6};
}

void require_run_file(const Hdf5File& file, const fs::path& path) {
  require_format(file, path, kRunFormat);
}

// The old file's rows up to the checkpoint, ready to be continued.
Hdf5File open_at(const fs::path& path, std::int64_t step, std::int64_t evaluated) {
  auto file = Hdf5File::open_for_appending(path);
  require_run_file(file, path);
  keep_first_rows<EvaluationRecord>(file,
                                    rows_of_all_sets(file, row_count<EvaluationRecord>(file)));
  keep_rows_up_to<EvaluationRecord>(file, evaluated);
  if (file.has(Table<TestRecord>::group)) keep_rows_up_to<TestRecord>(file, step);
  keep_hessian_rows_up_to(file, step);
  cut_named_losses(file);
  keep_norms_up_to(file, step);
  const auto last = keep_rows_up_to<StepRecord>(file, step);
  require_input(last == step || last < 0,
                "{}: the rows end at step {}, the checkpoint is of step {}", path.string(), last,
                step);
  return file;
}

void write_resumption(Hdf5File& file, std::int64_t step, const Resumption& now) {
  if (now.process) add_process(file, step, *now.process);
  if (now.identity) write_identity(file, *now.identity);
  if (now.hessian && !file.has("/hessian")) create_hessian_tables(file, *now.layout, *now.hessian);
  if (now.has_norms && !has_norm_table(file)) create_norm_table(file, *now.layout);
  if (now.has_test && !file.has(Table<TestRecord>::group)) create_table<TestRecord>(file);
  add_named_losses(file, now.validation_names);
}

}  // namespace

RunRecorder::RunRecorder(Hdf5File file, std::int64_t step)
    : file_(std::move(file)), last_step_(step), safe_step_(step) {
  steps_.reserve(kBufferedRows);
  evaluations_.reserve(kBufferedRows);
  const auto evaluated = file_.integer_column("/evaluations/step");
  if (!evaluated.empty()) last_evaluation_ = evaluated.back();
  named_sets_ = named_loss_sets(file_);
  peak_allocated_ = file_.integer("/memory/peak_allocated");
  peak_resident_ = file_.integer("/memory/peak_resident");
  energy_before_ = read_energy(file_);
  paging_before_ = read_paging(file_);
  file_.start_swmr();
}

RunRecorder RunRecorder::create(const fs::path& path, const RunHeader& header,
                                const ParameterLayout& layout, const Partition& partition,
                                const std::optional<HessianTables>& hessian) {
  auto file = Hdf5File::create(path);
  write_header(file, kRunFormat, header.config_yaml, header.config_hash, header.provenance);
  write_history(file, header.history);
  write_processes(file, {{header.first_step, header.provenance}});
  create_table<StepRecord>(file);
  create_table<EvaluationRecord>(file);
  write_memory(file, header);
  write_partition(file, layout, partition);
  if (!header.found_on.empty()) {
    file.create_group("/found_on");
    file.create_integer_column(kFoundOn, "1", "seeds on which the partition or rates were found");
    file.append(kFoundOn, std::span<const std::int64_t>(header.found_on));
  }
  if (header.has_test) create_table<TestRecord>(file);
  if (hessian) create_hessian_tables(file, layout, *hessian);
  add_named_losses(file, header.validation_names);
  if (header.has_norms) create_norm_table(file, layout);
  if (header.has_energy) {
    file.create_group("/energy");
    file.create_integer(kEnergy, 0, "uJ", "of processors and memory, all programs on the machine");
  }
  if (header.pages) write_paging(file);
  write_status(file);
  file.write_integer("/status/last_step", header.first_step - 1);
  return RunRecorder(std::move(file), header.first_step - 1);
}

RunRecorder RunRecorder::resume(const fs::path& path, const std::vector<std::string>& hashes,
                                std::int64_t step, const Resumption& now) {
  require_input(input_exists(path), "{}: there is no such file", path.string());
  try {
    auto file = open_at(path, step, now.evaluates_again ? step - 1 : step);
    const auto hash = file.text_attribute("/config", "hash");
    require_input(std::ranges::count(hashes, hash) > 0,
                  "{}: the run's configuration has the hash {}, this one has {}", path.string(),
                  hash, fmt::join(hashes, " or "));
    write_resumption(file, step, now);
    file.write_enum("/status/state", static_cast<std::int64_t>(RunState::running));
    file.write_text("/status/message", "");
    file.write_integer("/status/last_step", step);
    return RunRecorder(std::move(file), step);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("{}. Move the file away to record the rest of the run in a new "
                    "one; the checkpoints stay.",
                    error.what()));
  }
}

// Runs a writing action; the error of a failed one says what is safe, then and at every later call.
template <typename Action>
void RunRecorder::write(Action action) {
  if (!failure_.empty()) throw std::runtime_error(failure_);
  try {
    action();
  } catch (const FileLostError& error) {  // and its rows with it
    failure_ = error.what();
    throw;
  } catch (const std::runtime_error& error) {
    failure_ = fmt::format("{}; the rows up to step {} are safe", error.what(), safe_step_);
    throw std::runtime_error(failure_);
  }
}

template <typename Row>
void RunRecorder::buffer(std::vector<Row>& rows, std::int64_t& last_step, const Row& row) {
  if (row.step <= last_step) {
    throw InvariantError(
        fmt::format("{}: a row of step {} after step {}", Table<Row>::group, row.step, last_step));
  }
  rows.push_back(row);
  last_step = row.step;
  const bool due = Clock::now() - flushed_ >= kLongestWait;
  if (due || rows.size() >= kBufferedRows) flush();
}

void RunRecorder::record(const StepRecord& row) { buffer(steps_, last_step_, row); }

void RunRecorder::record(const EvaluationRecord& row, const NamedLosses& named) {
  named_losses_.push_back(in_order(named, named_sets_));
  buffer(evaluations_, last_evaluation_, row);
}

void RunRecorder::record(const TestRecord& row) {
  flush();
  write([&] { append_rows(file_, std::vector<TestRecord>{row}); });
  flush();
}

void RunRecorder::record(TensorNorms row) { norms_.push_back(std::move(row)); }

void RunRecorder::record(const HessianRows& rows) {
  flush();
  write([&] { append_hessian_rows(file_, rows); });
}

void RunRecorder::record_memory(std::int64_t peak_allocated, std::int64_t peak_resident) {
  peak_allocated_ = std::max(peak_allocated_, peak_allocated);
  peak_resident_ = std::max(peak_resident_, peak_resident);
  write([&] {
    file_.write_integer("/memory/peak_allocated", peak_allocated_);
    file_.write_integer("/memory/peak_resident", peak_resident_);
  });
}

void RunRecorder::record_state(const std::vector<std::pair<std::string, std::int64_t>>& bytes) {
  write([&] {
    std::int64_t all = 0;
    for (const auto& [kind, size] : bytes) {
      const auto path = "/memory/state/" + kind;
      if (file_.has(path)) file_.write_integer(path, size);  // files of before lack some
      all += size;
    }
    file_.write_integer("/memory/optimizer_state", all);
  });
}

void RunRecorder::record_energy(std::optional<std::int64_t> microjoules) {
  if (!energy_before_) return;
  if (!microjoules) energy_before_ = std::nullopt;
  const auto total = microjoules ? *energy_before_ + *microjoules : kUnknownEnergy;
  write([&] { file_.write_integer(kEnergy, total); });
}

void RunRecorder::record_paging(const PagingReport& report) {
  if (!paging_before_) return;
  const auto total = *paging_before_ + report;
  write([&] {
    file_.write_integer(kPagesRead, total.bytes_read);
    file_.write_integer(kPagesWritten, total.bytes_written);
    file_.write_integer(kPagesWaited, std::llround(total.seconds_waited * 1e6));
  });
}

void RunRecorder::set_status(RunState state, const std::string& message, std::int64_t last_step) {
  flush();
  write([&] {
    file_.write_integer("/status/last_step", last_step);
    file_.write_text("/status/message", message);
    file_.write_enum("/status/state", static_cast<std::int64_t>(state));
    file_.flush();
  });
}

void RunRecorder::flush() {
  write([&] {
    append_rows(file_, steps_);
    append_rows(file_, evaluations_);
    append_named_losses(file_, named_sets_, named_losses_);
    append_norms(file_, norms_);
    file_.flush();
  });
  steps_.clear();
  evaluations_.clear();
  named_losses_.clear();
  norms_.clear();
  safe_step_ = last_step_;
  flushed_ = Clock::now();
}

void RunRecorder::close() {
  flush();
  write([&] { file_.close(); });
}

namespace {

RunResult read_run_once(const fs::path& path) {
  const auto file = Hdf5File::open_for_reading(path);
  require_run_file(file, path);
  RunResult run;
  run.config_yaml = file.text("/config/yaml");
  run.config_hash = file.text_attribute("/config", "hash");
  run.provenance = read_provenance(file);
  run.processes = read_processes(file);
  const auto state = file.enum_value("/status/state");
  require_input(state >= 0 && state < static_cast<std::int64_t>(run_state_names().size()),
                "{}: /status/state is {}", path.string(), state);
  run.state = static_cast<RunState>(state);
  run.message = file.text("/status/message");
  run.last_step = file.integer("/status/last_step");
  run.steps = read_rows<StepRecord>(file);
  run.evaluations = read_rows<EvaluationRecord>(file);
  if (file.has(Table<TestRecord>::group)) {
    const auto tests = read_rows<TestRecord>(file);
    if (!tests.empty()) run.test = tests.back();
  }
  if (file.has(kFoundOn)) run.found_on = file.integer_column(kFoundOn);
  if (file.has("/hessian")) {
    run.hessian = read_hessian_rows(file);
    check_hessian_rows(run.hessian, read_hessian_extents(file), path.string());
  }
  run.validation_names = named_loss_sets(file);
  run.named_losses = read_named_losses(file, run.validation_names);
  run.norms = read_norms(file);
  run.parameter_bytes = file.integer("/memory/parameters");
  run.gradient_bytes = file.integer("/memory/gradients");
  run.optimizer_bytes = file.integer("/memory/optimizer_state");
  run.peak_allocated = file.integer("/memory/peak_allocated");
  run.peak_resident = file.integer("/memory/peak_resident");
  run.energy_microjoules = read_energy(file);
  run.paging = read_paging(file);
  for (const auto& kind : file.children("/memory/state")) {
    run.state_bytes.emplace_back(kind, file.integer("/memory/state/" + kind));
  }
  return run;
}

}  // namespace

RunResult read_run(const fs::path& path) {
  return read_growing_file(path, [&] { return read_run_once(path); });
}

void record_identity(const fs::path& path, const RunIdentity& identity) {
  auto file = Hdf5File::open_for_appending(path);
  require_run_file(file, path);
  write_identity(file, identity);
  file.close();
}

RunIdentity read_run_identity(const fs::path& path) {
  return read_growing_file(path, [&] {
    const auto file = Hdf5File::open_for_reading(path);
    require_run_file(file, path);
    return read_identity(file);
  });
}

std::string run_config_hash(const fs::path& path) {
  return read_growing_file(path, [&] {
    const auto file = Hdf5File::open_for_reading(path);
    require_run_file(file, path);
    return file.text_attribute("/config", "hash");
  });
}

}  // namespace blockwise
