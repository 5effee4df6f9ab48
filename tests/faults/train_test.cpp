// A small training run, with every call that changes a file failing once, or from there on, or
// being the last thing before the process is killed. Whatever happens, an exit code of 0 means that
// everything is recorded as in an undisturbed run, and the same command finishes to that result.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/faults/fault_walk.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

void add_partition(Contents& c, const fs::path& path) {
  const auto file = Hdf5File::open_for_reading(path);
  c["partition"] = file.text_attribute("/partition", "rule");
  for (const auto* name : {"tensor", "role", "rule", "structure"}) {
    c["partition"] += fmt::format(" {}", file.text_column(fmt::format("/partition/{}", name)));
  }
  for (const auto* name : {"layer", "row_begin", "rows", "columns", "blocks", "state_elements"}) {
    c["partition"] += fmt::format(" {}", file.integer_column(fmt::format("/partition/{}", name)));
  }
}

// {} prints a number so that it reads back as the same bits.
void add_rows(Contents& c, const RunResult& run) {
  for (const auto& s : run.steps) {
    c["steps"] += fmt::format("{} {} {} {} {} {}\n", s.step, s.tokens, s.loss, s.learning_rate,
                              s.gradient_norm, s.update_norm);
  }
  for (const auto& e : run.evaluations) {
    c["evaluations"] += fmt::format("{} {} {} {}\n", e.step, e.tokens, e.loss, e.perplexity);
  }
  for (const auto& h : run.hessian.summary) {
    c["curvature"] += fmt::format("{} {} {} {}\n", h.step, h.part, h.loss, h.gradient_norm);
  }
  for (const auto& q : run.hessian.quadrature) {
    c["quadrature"] += fmt::format("{} {} {} {}\n", q.step, q.probe, q.node, q.weight);
  }
}

void add_head(Contents& c, const RunResult& run) {
  c["header"] = run.config_yaml + run.config_hash + run.provenance.device + run.provenance.compiler;
  c["state"] = fmt::format("{} {} {}", static_cast<int>(run.state), run.message, run.last_step);
  c["memory"] =
      fmt::format("{} {} {} {} {} {}", run.parameter_bytes, run.gradient_bytes, run.optimizer_bytes,
                  run.state_bytes, run.peak_allocated > 0, run.peak_resident > 0);
}

Contents read_folder(const fs::path& folder) {
  Contents c;
  const auto run = read_run(folder / "run.h5");
  c["config.yaml"] = read_text_file(folder / "config.yaml");
  add_head(c, run);
  add_rows(c, run);
  add_partition(c, folder / "run.h5");
  for (const auto step : checkpoint_steps(folder)) {
    for (const auto* name : {"parameters.safetensors", "optimizer.safetensors"}) {
      const auto file = checkpoint_folder(folder, step) / name;
      c[file.string()] = read_text_file(file);
    }
  }
  return c;
}

constexpr const char* kMore = "hessian: {every: 4, lanczos_steps: 3, probes: 1, batch_size: 2}\n";

struct Training {
  SmallRunFolder small{8, kMore};

  FaultyWork work() const {
    std::vector<std::string> words = {"train", small.config};
    for (const auto* set :
         {"trainer.evaluate_every=3", "trainer.checkpoint_every=2", "trainer.keep_checkpoints=2"}) {
      words.insert(words.end(), {"--set", set});
    }
    const auto run = small.folder / "run";
    return {run, program_with(words), [run] { return read_folder(run); }};
  }
};

}  // namespace

TEST_CASE("Faults: a run that is killed before any change of a file goes on to the same bits") {
  const Training training;
  FaultWalk(training.work()).walk(FaultKind::kill);
}

TEST_CASE("Faults: a run that is killed within a write goes on to the same bits") {
  const Training training;
  FaultWalk(training.work()).walk(FaultKind::torn, 24);
}

TEST_CASE("Faults: a change of a file that fails once is told or harmless") {
  const Training training;
  FaultWalk(training.work()).walk(FaultKind::once);
}

TEST_CASE("Faults: a disk that stays full is told") {
  const Training training;
  FaultWalk(training.work()).walk(FaultKind::lasting);
}

TEST_CASE("Faults: the same while a stopped run is continued") {
  const Training training;
  const auto calls = FaultWalk(training.work()).calls();
  REQUIRE(calls > 100);
  fs::remove_all(training.work().folder);
  FaultWalk(training.work(), calls * 3 / 5)
      .walk(GENERATE(FaultKind::kill, FaultKind::once, FaultKind::lasting));
}
