// Runs that must be the same whatever happened to them on the way: what does not depend on time.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>

#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"

namespace blockwise::testing {

// norm_error: relative, of the norms of gradients and updates, which shards add up in another
// order.
inline void check_same_steps(const RunResult& a, const RunResult& b, double norm_error = 0.0) {
  const auto near = [norm_error](double x, double y) {
    return x == y || std::abs(x / y - 1.0) <= norm_error;
  };
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    CHECK(a.steps[i].step == b.steps[i].step);
    CHECK(a.steps[i].loss == b.steps[i].loss);
    CHECK(a.steps[i].learning_rate == b.steps[i].learning_rate);
    CHECK(near(a.steps[i].gradient_norm, b.steps[i].gradient_norm));
    CHECK(near(a.steps[i].update_norm, b.steps[i].update_norm));
  }
}

// Of every tensor, where runs have them.
inline void check_same_norms(const RunResult& a, const RunResult& b, double error) {
  CHECK(a.norms.tensors == b.norms.tensors);
  REQUIRE(a.norms.rows.size() == b.norms.rows.size());
  for (std::size_t i = 0; i < a.norms.rows.size(); ++i) {
    const auto &x = a.norms.rows[i], &y = b.norms.rows[i];
    CHECK(x.step == y.step);
    CHECK(x.rate == y.rate);
    for (std::size_t t = 0; t < a.norms.tensors.size(); ++t) {
      CHECK(y.gradient[t] == Approx(x.gradient[t]).epsilon(error));
      CHECK(y.update[t] == Approx(x.update[t]).epsilon(error));
      CHECK(y.weight[t] == Approx(x.weight[t]).epsilon(error));
    }
  }
}

inline void check_same_evaluations(const RunResult& a, const RunResult& b) {
  REQUIRE(a.evaluations.size() == b.evaluations.size());
  for (std::size_t i = 0; i < a.evaluations.size(); ++i) {
    CHECK(a.evaluations[i].step == b.evaluations[i].step);
    CHECK(a.evaluations[i].loss == b.evaluations[i].loss);
  }
}

// Every byte of the weights and of the optimizer's state.
inline void check_same_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b,
                                   std::int64_t step) {
  for (const auto* file : {"parameters.safetensors", "optimizer.safetensors"}) {
    INFO(file);
    CHECK(read_text_file(checkpoint_folder(a, step) / file) ==
          read_text_file(checkpoint_folder(b, step) / file));
  }
}

// Folders of finished runs of so many steps.
inline void check_same_runs(const std::filesystem::path& a, const std::filesystem::path& b,
                            std::int64_t steps, double norm_error = 0.0) {
  const auto x = read_run(a / "run.h5"), y = read_run(b / "run.h5");
  CHECK(x.state == RunState::finished);
  CHECK(y.state == RunState::finished);
  check_same_steps(x, y, norm_error);
  check_same_evaluations(x, y);
  check_same_checkpoints(a, b, steps);
}

}  // namespace blockwise::testing
