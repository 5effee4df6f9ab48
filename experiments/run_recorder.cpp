#include "experiments/run_recorder.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kRowsPerFlush = 64;
constexpr std::chrono::seconds kTimePerFlush{2};
constexpr std::size_t kMessageBytes = 512;
constexpr std::int64_t kFormatVersion = 1;

// One column of a table: where it stands in the file and in the record.
template <typename Record>
struct Column {
  const char* name;
  const char* units;
  const char* doc;
  std::int64_t Record::*integer = nullptr;
  double Record::*real = nullptr;
};

const std::vector<Column<StepRecord>>& step_columns() {
  using R = StepRecord;
  static const std::vector<Column<R>> columns = {
      {"step", "1", "optimizer steps done", &R::step},
      {"tokens", "tokens", "targets trained on so far", &R::tokens},
      {"loss", "nats", "mean training loss of the step's batch", nullptr, &R::loss},
      {"learning_rate", "1", "scheduled learning rate", nullptr, &R::learning_rate},
      {"grad_norm", "1", "global gradient norm before clipping", nullptr, &R::gradient_norm},
      {"update_norm", "1", "norm of the change of all parameters", nullptr, &R::update_norm},
      {"seconds", "s", "wall time of the step", nullptr, &R::seconds},
      {"seconds_data", "s", "part spent on batches", nullptr, &R::seconds_data},
      {"seconds_forward", "s", "part spent on the loss", nullptr, &R::seconds_forward},
      {"seconds_backward", "s", "part spent on gradients", nullptr, &R::seconds_backward},
      {"seconds_optimizer", "s", "part spent on the update", nullptr, &R::seconds_optimizer},
      {"tokens_per_second", "tokens/s", "of this step", nullptr, &R::tokens_per_second},
  };
  return columns;
}

const std::vector<Column<EvaluationRecord>>& evaluation_columns() {
  using R = EvaluationRecord;
  static const std::vector<Column<R>> columns = {
      {"step", "1", "optimizer steps done", &R::step},
      {"tokens", "tokens", "targets trained on so far", &R::tokens},
      {"loss", "nats", "mean loss over the fixed validation examples", nullptr, &R::loss},
      {"perplexity", "1", "exp(loss)", nullptr, &R::perplexity},
      {"seconds", "s", "wall time of the evaluation", nullptr, &R::seconds},
  };
  return columns;
}

template <typename Record>
void create_table(Hdf5File& file, const std::string& group,
                  const std::vector<Column<Record>>& columns) {
  file.create_group(group);
  for (const auto& column : columns) {
    const auto path = group + "/" + column.name;
    if (column.integer != nullptr) {
      file.create_integer_column(path, column.units, column.doc);
    } else {
      file.create_real_column(path, column.units, column.doc);
    }
  }
}

template <typename Record>
void append_rows(Hdf5File& file, const std::string& group,
                 const std::vector<Column<Record>>& columns, const std::vector<Record>& rows) {
  std::vector<std::int64_t> integers(rows.size());
  std::vector<double> reals(rows.size());
  for (const auto& column : columns) {
    const auto path = group + "/" + column.name;
    if (column.integer != nullptr) {
      std::transform(rows.begin(), rows.end(), integers.begin(),
                     [&](const Record& row) { return row.*column.integer; });
      file.append(path, std::span<const std::int64_t>(integers));
    } else {
      std::transform(rows.begin(), rows.end(), reals.begin(),
                     [&](const Record& row) { return row.*column.real; });
      file.append(path, std::span<const double>(reals));
    }
  }
}

template <typename Record>
std::vector<Record> read_rows(const Hdf5File& file, const std::string& group,
                              const std::vector<Column<Record>>& columns) {
  // A killed writer may have flushed some columns of a row and not others: the shortest counts.
  std::int64_t count = file.rows(group + "/" + columns.front().name);
  for (const auto& column : columns) count = std::min(count, file.rows(group + "/" + column.name));
  std::vector<Record> rows(static_cast<std::size_t>(count));
  for (const auto& column : columns) {
    const auto path = group + "/" + column.name;
    if (column.integer != nullptr) {
      const auto values = file.integer_column(path);
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i].*column.integer = values[i];
    } else {
      const auto values = file.real_column(path);
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i].*column.real = values[i];
    }
  }
  return rows;
}

// Keeps the rows whose step is at most `step`, in every column.
template <typename Record>
void cut_table(Hdf5File& file, const std::string& group, const std::vector<Column<Record>>& columns,
               std::int64_t step) {
  const auto rows = read_rows(file, group, columns);
  const auto kept =
      std::count_if(rows.begin(), rows.end(), [&](const Record& row) { return row.step <= step; });
  for (const auto& column : columns) file.truncate(group + "/" + column.name, kept);
}

void write_provenance(Hdf5File& file, const Provenance& p) {
  file.create_group("/provenance");
  file.set_attribute("/provenance", "program_version", p.program_version);
  file.set_attribute("/provenance", "git_commit", p.git_commit);
  file.set_attribute("/provenance", "compiler", p.compiler);
  file.set_attribute("/provenance", "torch_version", p.torch_version);
  file.set_attribute("/provenance", "hdf5_version", p.hdf5_version);
  file.set_attribute("/provenance", "simd_target", p.simd_target);
  file.set_attribute("/provenance", "device", p.device);
  file.set_attribute("/provenance", "started_at", p.started_at);
  file.set_attribute("/provenance", "threads", p.threads);
  file.set_attribute("/provenance", "seed", p.seed);
}

Provenance read_provenance(const Hdf5File& file) {
  const auto text = [&](const char* name) { return file.text_attribute("/provenance", name); };
  Provenance p;
  p.program_version = text("program_version");
  p.git_commit = text("git_commit");
  p.compiler = text("compiler");
  p.torch_version = text("torch_version");
  p.hdf5_version = text("hdf5_version");
  p.simd_target = text("simd_target");
  p.device = text("device");
  p.started_at = text("started_at");
  p.threads = file.integer_attribute("/provenance", "threads");
  p.seed = file.integer_attribute("/provenance", "seed");
  return p;
}

void write_memory(Hdf5File& file, const RunHeader& header) {
  file.create_group("/memory");
  file.create_group("/memory/state");
  std::int64_t total = 0;
  for (const auto& [kind, bytes] : header.state_bytes) {
    file.create_integer("/memory/state/" + kind, bytes, "bytes", "this kind of optimizer state");
    total += bytes;
  }
  file.create_integer("/memory/parameters", header.parameter_bytes, "bytes", "parameters");
  file.create_integer("/memory/gradients", header.gradient_bytes, "bytes", "gradients");
  file.create_integer("/memory/optimizer_state", total, "bytes", "all optimizer state");
  file.create_integer("/memory/peak_allocated", 0, "bytes",
                      "highest sum of tensor memory, counted by the allocator");
  file.create_integer("/memory/peak_resident", 0, "bytes", "highest resident set of the process");
}

// One row per section of a tensor, as columns.
class PartitionTable {
 public:
  PartitionTable(const ParameterLayout& layout, const Partition& partition) {
    for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
      for (const auto& section : partition.tensors()[i].sections) {
        sections_.push_back(&section);
        blocks_.push_back(&layout.blocks()[i]);
      }
    }
  }

  void write(Hdf5File& file) const {
    texts(file, "tensor", "name of the parameter", [](auto& b, auto&) { return b.name; });
    texts(file, "role", "role of the section",
          [](auto&, auto& s) { return std::string(role_name(s.role)); });
    texts(file, "rule", "partition rule that chose the structure",
          [](auto&, auto& s) { return s.rule; });
    texts(file, "structure", "how elements share a value",
          [](auto&, auto& s) { return std::string(structure_name(s.structure.kind)); });
    integers(file, "layer", "layer, -1 outside", [](auto& b, auto&) { return b.layer; });
    integers(file, "row_begin", "first row", [](auto&, auto& s) { return s.row_begin; });
    integers(file, "rows", "rows", [](auto&, auto& s) { return s.rows; });
    integers(file, "columns", "columns", [](auto&, auto& s) { return s.columns; });
    integers(file, "tile_rows", "rows of a tile or a factored group",
             [](auto&, auto& s) { return std::min(s.structure.tile_rows, s.rows); });
    integers(file, "tile_columns", "columns of a tile",
             [](auto&, auto& s) { return std::min(s.structure.tile_columns, s.columns); });
    integers(file, "blocks", "groups of elements that share a value",
             [](auto&, auto& s) { return s.block_count(); });
    integers(file, "state_elements", "values held", [](auto&, auto& s) { return s.state_size(); });
  }

 private:
  template <typename Value>
  void texts(Hdf5File& file, const std::string& name, const char* doc, const Value& value) const {
    std::vector<std::string> column;
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      column.push_back(value(*blocks_[i], *sections_[i]));
    }
    file.write_text_column("/partition/" + name, column, "", doc);
  }
  template <typename Value>
  void integers(Hdf5File& file, const std::string& name, const char* doc,
                const Value& value) const {
    std::vector<std::int64_t> column;
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      column.push_back(value(*blocks_[i], *sections_[i]));
    }
    file.create_integer_column("/partition/" + name, "1", doc);
    file.append("/partition/" + name, std::span<const std::int64_t>(column));
  }

  std::vector<const PartitionSection*> sections_;
  std::vector<const ParameterBlock*> blocks_;
};

void write_partition(Hdf5File& file, const ParameterLayout& layout, const Partition& partition) {
  file.create_group("/partition");
  file.set_attribute("/partition", "rule", partition.rule());
  PartitionTable(layout, partition).write(file);
}

void write_status(Hdf5File& file) {
  file.create_group("/status");
  file.create_enum("/status/state", run_state_names(), 0, "what became of the run");
  file.create_text("/status/message", "", kMessageBytes,
                   "why it ended so, where it did not finish");
  file.create_integer("/status/last_step", 0, "1", "steps done when the status was set");
}

}  // namespace

const std::vector<std::string>& run_state_names() {
  static const std::vector<std::string> names = {"running", "finished", "diverged", "failed",
                                                 "interrupted"};
  return names;
}

RunRecorder::RunRecorder(Hdf5File file) : file_(std::move(file)), flushed_(Clock::now()) {
  steps_.reserve(kRowsPerFlush);
}

RunRecorder RunRecorder::create(const std::filesystem::path& path, const RunHeader& header,
                                const ParameterLayout& layout, const Partition& partition) {
  auto file = Hdf5File::create(path);
  file.set_attribute("/", "format", "blockwise-run");
  file.set_attribute("/", "format_version", kFormatVersion);
  file.create_group("/config");
  file.create_text("/config/yaml", header.config_yaml, header.config_yaml.size(),
                   "the resolved configuration; it runs as it is");
  file.set_attribute("/config", "hash", header.config_hash);
  write_provenance(file, header.provenance);
  create_table(file, "/steps", step_columns());
  create_table(file, "/evaluations", evaluation_columns());
  write_memory(file, header);
  write_partition(file, layout, partition);
  write_status(file);
  file.start_swmr();
  return RunRecorder(std::move(file));
}

RunRecorder RunRecorder::resume(const std::filesystem::path& path, const std::string& config_hash,
                                std::int64_t step) {
  auto file = Hdf5File::open_for_appending(path);
  const auto hash = file.text_attribute("/config", "hash");
  require_input(
      hash == config_hash,
      "{}: this file belongs to a run with another configuration (hash {}, this one is {})",
      path.string(), hash, config_hash);
  cut_table(file, "/steps", step_columns(), step);
  cut_table(file, "/evaluations", evaluation_columns(), step);
  file.write_enum("/status/state", static_cast<std::int64_t>(RunState::running));
  file.write_text("/status/message", "");
  file.start_swmr();
  file.flush();
  return RunRecorder(std::move(file));
}

void RunRecorder::record(const StepRecord& row) {
  steps_.push_back(row);
  if (steps_.size() >= kRowsPerFlush || Clock::now() - flushed_ >= kTimePerFlush) flush();
}

void RunRecorder::record(const EvaluationRecord& row) { evaluations_.push_back(row); }

void RunRecorder::record_memory(std::int64_t peak_allocated, std::int64_t peak_resident) {
  // A resumed process starts its own count: the run's peak is the highest of all.
  const auto raise = [&](const char* path, std::int64_t bytes) {
    if (bytes > file_.integer(path)) file_.write_integer(path, bytes);
  };
  raise("/memory/peak_allocated", peak_allocated);
  raise("/memory/peak_resident", peak_resident);
}

void RunRecorder::set_status(RunState state, const std::string& message, std::int64_t last_step) {
  flush();
  file_.write_enum("/status/state", static_cast<std::int64_t>(state));
  file_.write_text("/status/message", message);
  file_.write_integer("/status/last_step", last_step);
  file_.flush();
}

void RunRecorder::flush() {
  append_rows(file_, "/steps", step_columns(), steps_);
  append_rows(file_, "/evaluations", evaluation_columns(), evaluations_);
  steps_.clear();
  evaluations_.clear();
  file_.flush();
  flushed_ = Clock::now();
}

void RunRecorder::close() {
  flush();
  file_.close();
}

RunResult read_run(const std::filesystem::path& path) {
  const auto file = Hdf5File::open_for_reading(path);
  require_input(file.has("/status") && file.text_attribute("/", "format") == "blockwise-run",
                "{}: an HDF5 file, but not of a blockwise run", path.string());
  RunResult result;
  result.config_yaml = file.text("/config/yaml");
  result.config_hash = file.text_attribute("/config", "hash");
  result.provenance = read_provenance(file);
  result.state = static_cast<RunState>(file.enum_value("/status/state"));
  result.message = file.text("/status/message");
  result.last_step = file.integer("/status/last_step");
  result.steps = read_rows(file, "/steps", step_columns());
  result.evaluations = read_rows(file, "/evaluations", evaluation_columns());
  result.parameter_bytes = file.integer("/memory/parameters");
  result.gradient_bytes = file.integer("/memory/gradients");
  result.optimizer_bytes = file.integer("/memory/optimizer_state");
  result.peak_allocated = file.integer("/memory/peak_allocated");
  result.peak_resident = file.integer("/memory/peak_resident");
  for (const auto& kind : file.children("/memory/state")) {
    result.state_bytes.emplace_back(kind, file.integer("/memory/state/" + kind));
  }
  return result;
}

}  // namespace blockwise
