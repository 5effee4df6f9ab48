// A small measurement of curvature, and the preparation of a sweep, under the same faults.
#include <fmt/format.h>

#include "core/io/input_file.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "tests/faults/fault_walk.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

Contents read_spectrum(const fs::path& folder) {
  const auto file = Hdf5File::open_for_reading(folder / "spectrum.h5");
  const auto rows = read_hessian_rows(file);
  Contents c;
  c["config.yaml"] = read_text_file(folder / "config.yaml");
  c["state"] = fmt::format("{}", file.enum_value("/status/state"));
  for (const auto& s : rows.summary) {
    c["summary"] += fmt::format("{} {} {} {}\n", s.part, s.loss, s.gradient_norm, s.trace);
  }
  for (const auto& q : rows.quadrature) {
    c["quadrature"] += fmt::format("{} {} {} {}\n", q.part, q.probe, q.node, q.weight);
  }
  for (const auto& e : rows.eigenvalues) {
    c["eigenvalues"] += fmt::format("{} {} {}\n", e.part, e.index, e.value);
  }
  return c;
}

// The configurations and the manifest, without hashes of where they are.
Contents read_sweep(const fs::path& folder) {
  Contents c;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.is_regular_file() && name != "index.h5") {
      c[fs::relative(entry.path(), folder).string()] = read_text_file(entry.path());
    }
  }
  return c;
}

struct Measurement {
  SmallRunFolder small{
      4, "hessian: {each: layer, lanczos_steps: 4, save_every: 2, probes: 1, batch_size: 2}\n"};

  FaultyWork work() const {
    const auto folder = small.folder / "spectrum";
    return {folder,
            program_with({"spectrum", small.config, "--output", folder.string(), "--no-figure"}),
            [folder] { return read_spectrum(folder); }};
  }
};

}  // namespace

TEST_CASE("Faults: a measurement of curvature under faults of all kinds") {
  const Measurement measurement;
  const FaultWalk walk(measurement.work());
  REQUIRE(walk.calls() > 100);
  for (const auto kind : {FaultKind::kill, FaultKind::once, FaultKind::lasting}) walk.walk(kind);
}

TEST_CASE("Faults: the same while a stopped measurement of curvature is continued") {
  const Measurement measurement;
  const auto calls = FaultWalk(measurement.work()).calls();
  fs::remove_all(measurement.work().folder);
  const FaultWalk walk(measurement.work(), calls / 2);
  for (const auto kind : {FaultKind::kill, FaultKind::once, FaultKind::lasting}) walk.walk(kind, 3);
}

TEST_CASE("Faults: the preparation of a sweep under faults of all kinds") {
  const SmallRunFolder small(4, "sweep: {method: grid, seeds: [1, 2]}\n");
  const auto run = small.folder / "run";
  const auto prepare = [config = small.config] {
    try {
      prepare_sweep(YamlDocument::load(config));
      return 0;
    } catch (const std::exception& error) {
      fmt::print(stderr, "blockwise: {}\n", error.what());
      return 1;
    }
  };
  const FaultWalk walk({run, prepare, [run] { return read_sweep(run); }});
  for (const auto kind : {FaultKind::kill, FaultKind::once, FaultKind::lasting}) walk.walk(kind);
}
