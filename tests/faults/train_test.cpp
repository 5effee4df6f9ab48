// A small training run, with every call that changes a file failing once, or from there on, or
// being the last thing before the process is killed. Whatever happens, an exit code of 0 means that
// everything is recorded as in an undisturbed run, and the same command finishes to that result.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "core/io/input_file.hpp"
#include "experiments/checkpoint.hpp"
#include "experiments/run_recorder.hpp"
#include "tests/faults/faulty_run.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

// Everything of a run's folder that an interruption must not change; times and memory do.
struct Recorded {
  std::string config, header, state, partition;
  std::vector<std::vector<double>> steps, evaluations, curvature;
  std::vector<std::pair<std::string, std::string>> checkpoints;  // files and their bytes
  std::vector<std::int64_t> memory;
  bool operator==(const Recorded&) const = default;
};

std::string partition_text(const fs::path& path) {
  const auto file = Hdf5File::open_for_reading(path);
  std::string text = file.text_attribute("/partition", "rule");
  for (const auto* name : {"tensor", "role", "rule", "structure"}) {
    for (const auto& value : file.text_column(fmt::format("/partition/{}", name))) {
      text += " " + value;
    }
  }
  for (const auto* name : {"layer", "row_begin", "rows", "columns", "blocks", "state_elements"}) {
    for (const auto value : file.integer_column(fmt::format("/partition/{}", name))) {
      text += fmt::format(" {}", value);
    }
  }
  return text;
}

std::vector<std::int64_t> memory_of(const RunResult& run) {
  std::vector<std::int64_t> memory = {run.parameter_bytes, run.gradient_bytes, run.optimizer_bytes,
                                      run.peak_allocated > 0, run.peak_resident > 0};
  for (const auto& [kind, bytes] : run.state_bytes) memory.push_back(bytes);
  return memory;
}

Recorded read_folder(const fs::path& folder) {
  Recorded r;
  const auto run = read_run(folder / "run.h5");
  r.config = read_text_file(folder / "config.yaml");
  r.header = run.config_yaml + run.config_hash + run.provenance.device + run.provenance.compiler;
  r.state = fmt::format("{} {} {}", static_cast<int>(run.state), run.message, run.last_step);
  r.partition = partition_text(folder / "run.h5");
  for (const auto& s : run.steps) {
    r.steps.push_back({double(s.step), double(s.tokens), s.loss, s.learning_rate, s.gradient_norm,
                       s.update_norm});
  }
  for (const auto& e : run.evaluations) {
    r.evaluations.push_back({double(e.step), double(e.tokens), e.loss, e.perplexity});
  }
  for (const auto& h : run.hessian.summary) {
    r.curvature.push_back({double(h.step), double(h.block), h.loss, h.gradient_norm});
  }
  for (const auto& q : run.hessian.quadrature) {
    r.curvature.push_back({double(q.step), double(q.probe), q.node, q.weight});
  }
  for (const auto step : checkpoint_steps(folder)) {
    for (const auto* name : {"parameters.safetensors", "optimizer.safetensors"}) {
      const auto file = checkpoint_folder(folder, step) / name;
      r.checkpoints.emplace_back(file.string(), read_text_file(file));
    }
  }
  r.memory = memory_of(run);
  return r;
}

void check_same(const Recorded& found, const Recorded& right) {
  CHECK(found.state == right.state);
  CHECK(found.steps == right.steps);
  CHECK(found.evaluations == right.evaluations);
  CHECK(found.curvature == right.curvature);
  CHECK(found.partition == right.partition);
  CHECK(found.memory == right.memory);
  CHECK(found.config == right.config);
  CHECK(found.header == right.header);
  CHECK((found.checkpoints == right.checkpoints));
}

// One line, from the program.
void check_sentence(const std::string& errors) {
  const auto at = errors.rfind("blockwise: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::count(errors.begin() + static_cast<std::ptrdiff_t>(at), errors.end(), '\n') == 1);
}

constexpr const char* kMore = "hessian: {every: 4, lanczos_steps: 3, probes: 1, batch_size: 2}\n";

class Walk {
 public:
  explicit Walk(std::int64_t stop_at = 0)
      : small_(8, kMore), run_(small_.folder / "run"), before_(small_.folder / "before") {
    std::vector<std::string> words = {"train", small_.config};
    for (const auto* set :
         {"trainer.evaluate_every=3", "trainer.checkpoint_every=2", "trainer.keep_checkpoints=2"}) {
      words.insert(words.end(), {"--set", set});
    }
    train_ = program_with(words);
    if (stop_at > 0) prepare_stopped_run(stop_at);
    const auto counted = start(FaultKind::none, 0);
    REQUIRE(counted.exit_code == 0);
    calls_ = counted.calls;
    right_ = read_folder(run_);
  }

  std::int64_t calls() const { return calls_; }

  void walk(FaultKind kind) {
    int quiet = 0;
    for (const auto call : tried_calls(calls_)) {
      INFO("call " << call << " of " << calls_);
      reset();
      const auto result = start(kind, call);
      if (result.exit_code == 0) ++quiet;
      check_end(kind, result);
      REQUIRE(start(FaultKind::none, 0).exit_code == 0);
      check_same(read_folder(run_), right_);
    }
    // Nearly every call matters: what may fail without a word is closing what was only read or
    // removing what is not needed.
    CHECK(quiet <= calls_ / 4);
  }

 private:
  void check_end(FaultKind kind, const FaultyResult& result) const {
    INFO(result.errors);
    if (kind == FaultKind::kill) {
      CHECK(result.exit_code == -SIGKILL);
    } else if (result.exit_code == 0) {
      check_same(read_folder(run_), right_);
    } else {
      CHECK((result.exit_code == 1 || result.exit_code == 2));
      check_sentence(result.errors);
    }
  }

  FaultyResult start(FaultKind kind, std::int64_t at) const {
    return run_with_fault(kind, at, run_, train_);
  }

  void prepare_stopped_run(std::int64_t stop_at) {
    REQUIRE(start(FaultKind::kill, stop_at).exit_code == -SIGKILL);
    fs::copy(run_, before_, fs::copy_options::recursive);
  }

  void reset() const {
    fs::remove_all(run_);
    if (fs::exists(before_)) fs::copy(before_, run_, fs::copy_options::recursive);
  }

  SmallRunFolder small_;
  fs::path run_, before_;
  std::function<int()> train_;
  std::int64_t calls_ = 0;
  Recorded right_;
};

std::int64_t calls_of_a_run() { return Walk().calls(); }

}  // namespace

TEST_CASE("Faults: a run that is killed before any change of a file goes on to the same bits") {
  Walk().walk(FaultKind::kill);
}

TEST_CASE("Faults: a change of a file that fails once is told or harmless") {
  Walk().walk(FaultKind::once);
}

TEST_CASE("Faults: a disk that stays full is told") { Walk().walk(FaultKind::lasting); }

TEST_CASE("Faults: the same while a stopped run is continued") {
  const auto calls = calls_of_a_run();
  REQUIRE(calls > 100);
  Walk walk(calls * 3 / 5);
  walk.walk(GENERATE(FaultKind::kill, FaultKind::once, FaultKind::lasting));
}
