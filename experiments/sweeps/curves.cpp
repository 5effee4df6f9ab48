#include "experiments/sweeps/curves.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/csv_text.hpp"
#include "experiments/sweeps/planned_file.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::vector<PlannedFile> runs_in(const fs::path& folder) {
  std::vector<PlannedFile> runs;
  if (input_exists(manifest_file(folder))) {
    const auto manifest = read_manifest(folder);
    for (const auto& member : manifest.members) runs.push_back(planned_file(member, folder));
    for (const auto& member : manifest.confirmations) {
      runs.push_back(planned_file(member, folder));
      runs.back().confirms = true;
    }
    return runs;
  }
  require_input(input_exists(folder / "run.h5"),
                "{}: neither a sweep (manifest.json) nor a run (run.h5)", folder.string());
  return {single_file(folder)};
}

// Every setting of any run, in the order in which they first occur.
std::vector<std::string> setting_names(const std::vector<PlannedFile>& runs) {
  std::vector<std::string> names;
  for (const auto& run : runs) {
    for (const auto& [key, value] : run.settings) {
      if (std::ranges::count(names, key) == 0) names.push_back(key);
    }
  }
  return names;
}

std::string header_line(const std::vector<std::string>& settings) {
  std::vector<std::string> names = {"run", "group", "seed", "stage"};
  names.insert(names.end(), settings.begin(), settings.end());
  for (const auto* name : {"step", "tokens", "seconds", "quantity", "value"}) {
    names.emplace_back(name);
  }
  return csv_line(names);
}

// The lines of one run.
class CurveLines {
 public:
  CurveLines(const PlannedFile& run, const std::vector<std::string>& settings,
             const RunResult& result)
      : result_(result) {
    std::vector<std::string> cells = {run.id, run.group,
                                      fmt::format("{}", run.seed.value_or(result.provenance.seed)),
                                      run.confirms ? "confirmed" : "search"};
    for (const auto& name : settings) {
      const auto found =
          std::ranges::find(run.settings, name, &std::pair<std::string, std::string>::first);
      cells.push_back(found == run.settings.end() ? "" : found->second);
    }
    for (const auto& cell : cells) start_ += csv_cell(cell) + ",";
    double seconds = 0.0;
    for (const auto& row : result.steps) seconds_.push_back(seconds += row.seconds);
  }

  std::string text() {
    for (std::size_t i = 0; i < result_.steps.size(); ++i) add(result_.steps[i], seconds_[i]);
    for (const auto& row : result_.evaluations) add(row);
    for (std::size_t i = 0; i < result_.named_losses.size(); ++i) add_named(i);
    for (const auto& row : result_.norms.rows) add(row);
    return std::move(text_);
  }

 private:
  void add(const StepRecord& row, double seconds) {
    const auto line = [&](const char* quantity, double value) {
      put(row.step, row.tokens, seconds, quantity, value);
    };
    line("train/loss", row.loss);
    line("train/learning_rate", row.learning_rate);
    line("train/grad_norm", row.gradient_norm);
    line("train/update_norm", row.update_norm);
    line("train/tokens_per_second", row.tokens_per_second);
  }

  void add(const EvaluationRecord& row) {
    const auto seconds = seconds_until(row.step);
    put(row.step, row.tokens, seconds, "validation/loss", row.loss);
    put(row.step, row.tokens, seconds, "validation/perplexity", row.perplexity);
  }

  // Of the i-th evaluation.
  void add_named(std::size_t i) {
    if (i >= result_.evaluations.size()) return;
    const auto& row = result_.evaluations[i];
    const auto& names = result_.validation_names;
    for (std::size_t set = 0; set < names.size(); ++set) {
      put(row.step, row.tokens, seconds_until(row.step), "validation/" + names[set] + "/loss",
          result_.named_losses[i][set]);
    }
  }

  void add(const TensorNorms& row) {
    const auto [seconds, tokens] = at_step(row.step);
    const auto& names = result_.norms.tensors;
    for (std::size_t i = 0; i < names.size(); ++i) {
      put(row.step, tokens, seconds, "grad_norm/" + names[i], row.gradient[i]);
      put(row.step, tokens, seconds, "update_norm/" + names[i], row.update[i]);
      put(row.step, tokens, seconds, "weight_norm/" + names[i], row.weight[i]);
    }
  }

  std::pair<double, std::int64_t> at_step(std::int64_t step) const {
    const auto row = std::ranges::find(result_.steps, step, &StepRecord::step);
    return {seconds_until(step), row == result_.steps.end() ? 0 : row->tokens};
  }

  double seconds_until(std::int64_t step) const {
    const auto after = std::ranges::upper_bound(result_.steps, step, {}, &StepRecord::step);
    const auto count = after - result_.steps.begin();
    return count == 0 ? 0.0 : seconds_[static_cast<std::size_t>(count - 1)];
  }

  void put(std::int64_t step, std::int64_t tokens, double seconds, std::string_view quantity,
           double value) {
    text_ += fmt::format("{}{},{},{},{},{}\n", start_, step, tokens, seconds,
                         csv_cell(std::string(quantity)), value);
  }

  const RunResult& result_;
  std::string start_;  // the cells that all lines share
  std::vector<double> seconds_;
  std::string text_;
};

RunResult read_planned(const PlannedFile& run) {
  require_input(input_exists(run.run), "{}: no such file: the run '{}' has not started",
                run.run.string(), run.id);
  auto result = read_run(run.run);
  require_planned(run, result);
  return result;
}

}  // namespace

std::vector<std::string> write_curves(const fs::path& folder, const CurveSink& sink) {
  const auto runs = runs_in(folder);
  const auto settings = setting_names(runs);
  std::vector<std::string> left_out;
  bool any = false;
  for (const auto& run : runs) {
    try {
      const auto result = read_planned(run);
      if (!any) sink(header_line(settings));
      any = true;
      sink(CurveLines(run, settings, result).text());
    } catch (const InputError& error) {
      left_out.emplace_back(error.what());
    }
  }
  require_input(any, "{}: no run to draw curves of: {}", folder.string(),
                left_out.empty() ? "the sweep has no members" : left_out.front());
  return left_out;
}

}  // namespace blockwise
