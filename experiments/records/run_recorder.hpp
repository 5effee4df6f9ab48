// RunRecorder: the one HDF5 file of a run (layout in docs/files.md). Append-only; rows are
// typed records. Readable by h5py while it grows.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "core/memory/paged_file.hpp"
#include "core/parameters/parameter_layout.hpp"
#include "core/partition/partition.hpp"
#include "experiments/records/file_header.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/records/named_losses.hpp"
#include "experiments/records/run_identity.hpp"
#include "experiments/records/tensor_norms.hpp"

namespace blockwise {

// Of a run file.
inline const FileFormat kRunFormat{"blockwise-run", 1};

struct StepRecord {
  std::int64_t step = 0;    // 1 is the first
  std::int64_t tokens = 0;  // seen so far
  double loss = 0;          // mean over the step's micro-batches, nats
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  double update_norm = 0;
  double seconds = 0;  // whole step
  double seconds_data = 0;
  double seconds_forward = 0;
  double seconds_backward = 0;
  double seconds_optimizer = 0;
  double tokens_per_second = 0;
};

struct EvaluationRecord {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double loss = 0;
  double perplexity = 0;
  double seconds = 0;
};

// The loss on the test set, which no choice saw, after the last step.
struct TestRecord {
  std::int64_t step = 0;
  std::int64_t tokens = 0;   // of training, seen so far
  std::int64_t targets = 0;  // that the loss is the mean over
  double loss = 0;
  double perplexity = 0;
  double seconds = 0;
};

struct RunHeader {
  std::string config_yaml;
  std::string config_hash;
  RunHistory history;
  std::int64_t first_step = 1;  // later in the new file of a run that lost its old one
  Provenance provenance;
  std::int64_t parameter_bytes = 0;
  std::int64_t gradient_bytes = 0;
  std::vector<std::pair<std::string, std::int64_t>> state_bytes;  // by kind
  bool has_test = false;                                          // whether there is a test set
  std::vector<std::int64_t> found_on;  // seeds of the partition and the rates, see found_on.hpp
  std::vector<std::string> validation_names;  // of further validation sets
  bool has_norms = false;                     // of every tensor
  bool has_energy = false;                    // whether the machine counts it
  bool pages = false;                         // whether state or masters are in a file
};

// What is new in the file of a run that goes on.
struct Resumption {
  std::optional<Provenance> process;
  std::optional<RunIdentity> identity;
  const ParameterLayout* layout = nullptr;  // not null where there is `hessian`
  std::optional<HessianTables> hessian;
  bool has_norms = false;                          // the same, with their table
  bool has_test = false;                           // the same
  std::vector<std::string> validation_names = {};  // those that are new get NaN before `step`
  bool evaluates_again = false;                    // the evaluation of `step` is dropped, too
};

class RunRecorder {
 public:
  // A new file with everything in it that does not change; starts single-writer-multiple-reader
  // mode. Throws InputError where the file exists. Whoever records holds the folder's lock
  // (core/io/folder_lock.hpp): two writers are kept apart by it and by nothing else.
  // `hessian` where the run measures curvature.
  static RunRecorder create(const std::filesystem::path& path, const RunHeader& header,
                            const ParameterLayout& layout, const Partition& partition,
                            const std::optional<HessianTables>& hessian = std::nullopt);
  // Continues the file of a run that stopped, in any way: rows above `step` are dropped, status is
  // running again. The new file takes the old one's place when it is complete, so whoever follows
  // the old one has to open it again. Throws InputError where the file is damaged or where its
  // config hash is none of `hashes`. `process` goes into /provenance/processes, `now` takes the
  // place of the identity in the file; tables for `hessian` are made where there are none.
  static RunRecorder resume(const std::filesystem::path& path,
                            const std::vector<std::string>& hashes, std::int64_t step,
                            const Resumption& now = {});
  static RunRecorder resume(const std::filesystem::path& path, const std::string& hash,
                            std::int64_t step,
                            const std::optional<Provenance>& process = std::nullopt) {
    return resume(path, std::vector<std::string>{hash}, step, {process, {}, nullptr, {}, false});
  }

  // Steps ascend within each kind of row. A write that fails throws std::runtime_error with the
  // file, the reason and the step up to which rows are safe; every later call throws it again. A
  // file that somebody deletes, moves or cuts is noticed when rows are flushed.
  void record(const StepRecord& row);
  // `named`: the losses of further validation sets; NaN for those of the file that are not there.
  void record(const EvaluationRecord& row, const NamedLosses& named = {});
  // In a file whose header said so.
  void record(TensorNorms row);
  // Flushes. In a file whose header, or whose resumption, said so.
  void record(const TestRecord& row);
  // One measurement, whole: written and flushed with everything before it.
  void record(const HessianRows& rows);
  // Kept as the maximum over the run, whatever process it was in.
  void record_memory(std::int64_t peak_allocated, std::int64_t peak_resident);
  // Bytes by kind, the header's kinds: a rule may choose sizes at its first step.
  void record_state(const std::vector<std::pair<std::string, std::int64_t>>& bytes);
  // Of this process so far; nothing where it is not known, which it then is not for the whole run.
  void record_energy(std::optional<std::int64_t> microjoules);
  // Of this process so far, in a file whose header said so; nothing in others.
  void record_paging(const PagingReport& report);
  // Flushes.
  void set_status(RunState state, const std::string& message, std::int64_t last_step);
  // Everything recorded so far reaches the operating system. Rows are buffered until then (record()
  // flushes by itself at least every 64 rows or 2 seconds).
  void flush();
  void close();

 private:
  RunRecorder(Hdf5File file, std::int64_t step);
  template <typename Action>
  void write(Action action);
  template <typename Row>
  void buffer(std::vector<Row>& rows, std::int64_t& last_step, const Row& row);

  Hdf5File file_;
  std::vector<StepRecord> steps_;  // not yet in the file
  std::vector<EvaluationRecord> evaluations_;
  std::vector<std::string> named_sets_;
  std::vector<std::vector<double>> named_losses_;  // of evaluations_
  std::optional<std::int64_t> energy_before_;      // of earlier processes, where the file has it
  std::optional<PagingReport> paging_before_;      // the same
  std::vector<TensorNorms> norms_;
  std::int64_t last_step_;
  std::int64_t safe_step_;  // flushed
  std::int64_t last_evaluation_ = -1;
  std::int64_t peak_allocated_ = 0;
  std::int64_t peak_resident_ = 0;
  std::chrono::steady_clock::time_point flushed_ = std::chrono::steady_clock::now();
  std::string failure_;  // of the first write that failed
};

// What report and the tests read back.
struct RunResult {
  std::string config_yaml, config_hash;
  Provenance provenance;              // of the process that took the first step
  std::vector<RunProcess> processes;  // all of them; the last has taken no step yet where the run
                                      // ends before its from_step
  RunState state = RunState::running;
  std::string message;
  std::int64_t last_step = 0;
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
  std::optional<TestRecord> test;      // the last one
  std::vector<std::int64_t> found_on;  // seeds of the partition and the rates
  std::int64_t parameter_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0, peak_allocated = 0,
               peak_resident = 0;
  std::optional<std::int64_t> energy_microjoules;  // of all processes; nothing where not known
  std::optional<PagingReport> paging;              // the same; nothing where none was asked for
  std::vector<std::pair<std::string, std::int64_t>> state_bytes;  // sorted by kind
  HessianRows hessian;                                            // empty where none was measured
  std::vector<std::string> validation_names;                      // of further validation sets
  std::vector<std::vector<double>> named_losses;  // of evaluations, by name; may lack the last ones
  NormTable norms;                                // the same
};
// Any run file, also one that is being written (as far as it is flushed). Throws InputError naming
// file and object for one that is damaged or no run file.
RunResult read_run(const std::filesystem::path& path);
// Its configuration's hash alone. Throws as read_run() does.
std::string run_config_hash(const std::filesystem::path& path);
// Changes what run it is, of a file that nobody records into. Throws InputError for a damaged one,
// std::runtime_error where it cannot be written.
void record_identity(const std::filesystem::path& path, const RunIdentity& identity);
// What run it is. Throws as read_run() does.
RunIdentity read_run_identity(const std::filesystem::path& path);

}  // namespace blockwise
