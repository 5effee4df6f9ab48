#include "experiments/bench/step_profile.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string_view>

#include "core/base/error.hpp"
#include "experiments/bench/operation_times.hpp"
#include "experiments/config/resolved_run.hpp"
#include "experiments/training/trainer.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFirstSteps = 2;  // buffers are made in them

struct Kind {
  const char* name;
  std::vector<std::string_view> words;  // in the names of its operations
};

// The first that fits.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kinds = {
      {"attention", {"attention"}},
      {"matrix products", {"mm", "linear", "matmul", "bmm", "mkldnn", "dot"}},
      {"norms", {"layer_norm", "rms_norm", "native_norm", "rsqrt"}},
      {"loss", {"cross_entropy", "softmax", "nll_loss", "logsumexp"}},
      {"embedding", {"embedding", "index_select", "index_add"}},
      {"allocation", {"empty", "resize", "zeros", "zero_", "new_"}},
      {"elementwise",
       {"add", "mul", "sub", "div", "gelu", "silu", "copy", "cat", "to", "sum", "fill", "neg",
        "cos", "sin", "pow", "mean", "sigmoid"}}};
  return kinds;
}

std::string kind_of(const std::string& operation) {
  for (const auto& kind : kinds()) {
    for (const auto word : kind.words) {
      if (operation.find(word) != std::string::npos) return kind.name;
    }
  }
  return "other operations";
}

// A folder of our own, gone afterwards.
class Workplace {
 public:
  Workplace() : path_(fs::temp_directory_path() / fmt::format("blockwise-bench-{}", ::getpid())) {}
  ~Workplace() {
    std::error_code left;
    fs::remove_all(path_, left);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Measured {
  std::map<std::string, double> operations;  // seconds of all steps that count
  StepRecord sum;                            // the same
  std::int64_t steps = 0;
};

void add(StepRecord& sum, const StepRecord& row) {
  sum.seconds += row.seconds;
  sum.seconds_data += row.seconds_data;
  sum.seconds_forward += row.seconds_forward;
  sum.seconds_backward += row.seconds_backward;
  sum.seconds_optimizer += row.seconds_optimizer;
  sum.tokens_per_second += row.tokens_per_second * row.seconds;
}

Measured measure(const ResolvedRun& run) {
  OperationTimes times;
  Measured measured;
  const auto follow = [&](const StepRecord& row) {
    if (row.step == kFirstSteps) times.restart();
    if (row.step <= kFirstSteps) return;
    add(measured.sum, row);
    ++measured.steps;
    measured.operations = times.seconds();
  };
  train(run, {.step = follow});
  return measured;
}

// Forward and backward passes by their operations, what is between these, and the other parts.
std::vector<ProfilePart> parts_of(const Measured& measured) {
  std::map<std::string, double> by_kind;
  double in_operations = 0.0;
  for (const auto& [name, seconds] : measured.operations) {
    by_kind[kind_of(name)] += seconds;
    in_operations += seconds;
  }
  std::vector<ProfilePart> parts(by_kind.size());
  std::ranges::transform(by_kind, parts.begin(), [](const auto& kind) {
    return ProfilePart{kind.first, kind.second};
  });
  std::ranges::sort(parts, std::greater(), &ProfilePart::seconds);
  const auto& sum = measured.sum;
  const double passes = sum.seconds_forward + sum.seconds_backward;
  const double named = passes + sum.seconds_data + sum.seconds_optimizer;
  parts.push_back({"between operations", std::max(0.0, passes - in_operations)});
  parts.push_back({"optimizer", sum.seconds_optimizer});
  parts.push_back({"data", sum.seconds_data});
  parts.push_back({"all else", sum.seconds - named + std::min(0.0, passes - in_operations)});
  for (auto& part : parts) part.seconds /= double(measured.steps);
  return parts;
}

std::vector<ProfilePart> longest(const Measured& measured) {
  constexpr std::size_t kMost = 12;
  std::vector<ProfilePart> parts;
  for (const auto& [name, seconds] : measured.operations) {
    parts.push_back({name, seconds / double(measured.steps)});
  }
  std::ranges::sort(parts, std::greater(), &ProfilePart::seconds);
  parts.resize(std::min(parts.size(), kMost));
  return parts;
}

}  // namespace

StepProfile profile_steps(RunConfig config, std::int64_t steps) {
  const Workplace folder;
  config.output = folder.path().string();
  config.trainer.steps = steps + kFirstSteps;
  config.trainer.evaluate_every = 0;
  config.trainer.checkpoint_every = 0;
  const auto run = resolve(config);
  const auto measured = measure(run);
  require_input(measured.steps > 0, "trainer: the run ended before its third step");
  const auto mean = measured.sum.seconds / double(measured.steps);
  return {measured.steps, mean, measured.sum.tokens_per_second / measured.sum.seconds,
          parts_of(measured), longest(measured)};
}

}  // namespace blockwise
