#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/base/statistics.hpp"
#include "core/io/input_file.hpp"
#include "core/text/text_table.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/follow_first.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/commands/meet_ranks.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/run_source.hpp"
#include "experiments/curvature/spectrum.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"
#include "experiments/text/python.hpp"
#include "hessian/spectral_density.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

FlagTable flags_of(const SpectrumOptions& options) {
  FlagTable flags{{{"model.from", "--model"},
                   {"hessian.models", "--model"},
                   {"data.train", "--tokens"},
                   {"data.validation", "--tokens"},
                   {"data.sequence_length", "--sequence-length"},
                   {"hessian.exact", "--exact"},
                   {"hessian.precision", "--precision"},
                   {"trainer.threads", "--threads"}},
                  {{options.tokens, "--tokens"},
                   {options.checkpoints, "--checkpoints"},
                   {options.output, "--output"}},
                  /*has_set=*/!options.models.empty() || !options.checkpoints.empty()};
  for (const auto& model : options.models) flags.values.emplace_back(model, "--model");
  return flags;
}

// A configuration that says what is needed of data and model; nothing of it trains.
YamlDocument document_of_tokens(const SpectrumOptions& options) {
  const nlohmann::ordered_json text = {
      {"name", "spectrum"},
      {"data", {{"kind", "tokens"}, {"train", options.tokens}, {"validation", options.tokens}}},
      {"model", {{"from", options.models.front()}}},
      {"optimizer", {{"rule", "adamw"}, {"learning_rate", 1e-3}}},
      {"trainer", {{"steps", 1}}}};
  return YamlDocument::parse(json_text(text), "--model");
}

// The YAML with the model in the place of its own; without one what the run's folder says; without
// a run what the flags say.
YamlDocument document_of(const SpectrumOptions& options) {
  if (!options.config.empty()) {
    auto document = YamlDocument::load(options.config);
    if (!options.models.empty()) set_model(document, options.models.front());
    return document;
  }
  require_input(!options.models.empty(),
                "spectrum: give a YAML file, or --model (and --tokens, where that is no run)");
  const auto& model = options.models.front();
  if (const auto run = run_folder_of(model)) return run_document(*run, model);
  require_input(!options.tokens.empty() || !input_exists(model),
                "spectrum: --model {} is no run, whose folder would say the data: give --tokens",
                model);
  require_input(!options.tokens.empty(), "spectrum: there is no model {}, and no --tokens", model);
  return document_of_tokens(options);
}

RunConfig read_config(const SpectrumOptions& options) {
  auto document = document_of(options);
  const auto set = [&](const std::string& key, const std::string& value,
                       const std::string& origin) {
    if (!value.empty()) document.set(key, json_text(value), origin);
  };
  set("data.train", options.tokens, "--tokens");
  set("data.validation", options.tokens, "--tokens");
  if (options.sequence_length > 0) {
    document.set("data.sequence_length", fmt::format("{}", options.sequence_length),
                 "--sequence-length");
  }
  if (options.models.size() > 1) {
    document.set("hessian.models", json_text(options.models), "--model");
  }
  set("hessian.precision", options.precision, "--precision");
  if (options.exact) document.set("hessian.exact", "true", "--exact");
  for (const auto& assignment : options.assignments) document.set(assignment);
  print_note(document.moved_note());
  auto config = document.run_config();
  if (options.threads >= 0) config.trainer.threads = options.threads;
  config.output = output_of(options.output, config.output + "-spectrum");
  return config;
}

// ---- what is printed ----------------------------------------------------------------------------

std::string gib(std::int64_t bytes) {
  return fmt::format("{:.3f} GiB", double(bytes) / double(1 << 30));
}

// What the Lanczos steps and probes that are asked for can resolve, for the largest part.
void print_density_plan(const ResolvedSpectrum& spectrum) {
  const auto& h = spectrum.config.hessian;
  if (h.exact || h.lanczos.steps == 0) return;
  const auto steps = spectrum.plan.measurement.lanczos_steps;
  if (steps < h.lanczos.steps) {
    print_words(fmt::format("Lanczos: {} steps instead of {}, the largest part has {} parameters\n",
                            steps, h.lanczos.steps, steps));
  }
  std::int64_t rows = 0;
  for (const auto& part : spectrum.plan.measurement.tables.parts) {
    rows = std::max(rows, part.size());
  }
  constexpr double kError = 0.01, kFailure = 0.05;
  const auto cost = density_cost(rows, kError, kFailure);
  print_words(fmt::format(
      "densities: {} steps are within {:.1f} % of the spectrum's width for any spectrum "
      "(Wasserstein distance); {:.0f} % would take {} steps, {} probe{}\n",
      steps, 100.0 * density_error(steps), 100.0 * kError, cost.steps, cost.probes,
      cost.probes == 1 ? "" : "s"));
}

void print_plan(const ResolvedSpectrum& spectrum) {
  const auto& plan = spectrum.plan;
  std::int64_t elements = 0;
  for (const auto& part : plan.measurement.tables.parts) elements += part.size();
  auto text = fmt::format(
      "{} parts with {} of {} parameters; at most {} products, about {:.0f} gradients\n",
      plan.measurement.tables.parts.size(), elements, spectrum.layout.size(),
      plan.measurement.products, plan.measurement.gradients);
  if (spectrum.points.size() > 1) {
    text += fmt::format("that at each of {} models, steps {} to {}\n", spectrum.points.size(),
                        spectrum.points.front().step, spectrum.points.back().step);
  }
  text += fmt::format("memory: {} for the model and a product, {} for Lanczos vectors\n",
                      gib(plan.memory.peak), gib(plan.measurement.basis_bytes));
  if (plan.file_bytes > 0) {
    text += fmt::format("in files: {} of vectors, in {}\n", gib(plan.file_bytes),
                        spectrum.config.output);
  }
  print_words(text);
  print_density_plan(spectrum);
}

// The row of the largest or smallest eigenvalue of a part at a step. Of a matrix all are there, in
// descending order.
const EigenvalueRow* end_of(const SpectrumOutcome& outcome, const SummaryRow& of, bool largest) {
  const auto last = outcome.tables.parts[static_cast<std::size_t>(of.part)].size() - 1;
  const EigenvalueRow* found = nullptr;
  for (const auto& row : outcome.rows.eigenvalues) {
    if (row.part != of.part || row.step != of.step) continue;
    if (row.index == 0 && (largest || last == 0)) found = &row;
    if (!largest && (row.index == -1 || row.index == last)) found = &row;
  }
  return found;
}

std::string with_interval(double value, double low, double high) {
  if (std::isnan(value)) return "-";
  if (low == high) return fmt::format("{:.5g}", value);
  if (std::isnan(low) || std::isnan(high)) return fmt::format("{:.4g}", value);
  return fmt::format("{:.4g} [{:.4g}, {:.4g}]", value, low, high);
}

// A Ritz value that has not converged bounds the eigenvalue from inside the spectrum, but of
// products by differences, which are not quite those of one matrix.
std::string pair_text(const EigenvalueRow* row, bool largest, bool by_differences) {
  if (row == nullptr) return "-";
  if (row->converged == 0) {
    const auto* relation = by_differences ? "about" : largest ? ">=" : "<=";
    return fmt::format("{} {:.4g} not converged", relation, row->value);
  }
  const double residual = std::isnan(row->residual) ? row->residual_bound : row->residual;
  return residual > 0.0 ? fmt::format("{:.5g} ± {:.1g}", row->value, residual)
                        : fmt::format("{:.5g}", row->value);
}

// Which models the rows are of.
void print_models(const ResolvedSpectrum& spectrum) {
  const bool several = spectrum.points.size() > 1;
  for (std::size_t i = 0; i < spectrum.points.size(); ++i) {
    const auto rows = several ? fmt::format("rows of step {}: ", spectrum.points[i].step) : "";
    print_words(fmt::format("{}curvature of {}\n", rows, spectrum.models[i]));
  }
}

// Where eigenvalues that repeat may be listed once.
void print_copies(const SpectrumOutcome& outcome, const HessianConfig& config) {
  const bool missed = std::ranges::any_of(outcome.rows.summary, [&](const auto& row) {
    return row.copies_found == 0 && end_of(outcome, row, true) != nullptr;
  });
  if (!missed) return;
  if (config.pairs.solver == "thick_restart") {
    print_words(
        "copies of eigenvalues that repeat may be missing: hessian.pairs.products ended the "
        "search\n");
  } else {
    print_words(
        "eigenvalues are those that one random start sees: one that repeats is listed once "
        "(hessian.pairs.solver thick_restart finds the copies)\n");
  }
}

void print_symmetries(const SpectrumOutcome& outcome) {
  if (outcome.rows.symmetries.empty()) return;
  double worst = 0.0;
  for (const auto& row : outcome.rows.symmetries) worst = std::max(worst, row.error);
  print_words(fmt::format("scaling symmetries: {} checked, largest relative error {:.1e}\n",
                          outcome.rows.symmetries.size(), worst));
}

void print_table(const SpectrumOutcome& outcome, const HessianConfig& config, std::size_t width) {
  std::vector<TableColumn> columns = {key_column("part"),           value_column("elements"),
                                      value_column("smallest"),     value_column("largest"),
                                      value_column("trace [95 %]"), value_column("noise")};
  const bool several = outcome.tables.points.size() > 1;
  if (several) columns.insert(columns.begin(), key_column("step"));
  TextTable table(std::move(columns));
  const bool by_differences = is_difference(config.product_method());
  for (const auto& row : outcome.rows.summary) {
    const auto& part = outcome.tables.parts[static_cast<std::size_t>(row.part)];
    std::vector<std::string> cells = {
        part.name,
        fmt::format("{}", part.size()),
        pair_text(end_of(outcome, row, false), false, by_differences),
        pair_text(end_of(outcome, row, true), true, by_differences),
        with_interval(row.trace, row.trace_low, row.trace_high),
        std::isnan(row.noise) ? "-" : fmt::format("{:.1e}", row.noise)};
    if (several) cells.insert(cells.begin(), fmt::format("{}", row.step));
    table.add(std::move(cells));
  }
  fmt::print("{}", table.text(width));
  print_copies(outcome, config);
  print_symmetries(outcome);
}

// Whether the quadrature's error, which is only known not to be larger, makes most of the interval.
bool is_a_bound(const FunctionRow& row) {
  if (row.probes < 2) return row.quadrature_error > 0.0;
  const double probes = student_t_quantile(double(row.probes - 1)) * row.error;
  return row.quadrature_error > 0.5 * probes;
}

std::string function_text(const FunctionRow& row) {
  auto text = with_interval(row.value, row.low, row.high);
  if (row.probes == 1) text += ", one probe";
  if (row.converged == 0) {
    text += fmt::format(
        ", not converged: the quadrature may be off by {:.2g}; more hessian.lanczos.steps",
        row.quadrature_error);
  } else if (is_a_bound(row)) {
    text += fmt::format(", a bound: the quadrature may be off by {:.2g}", row.quadrature_error);
  }
  return text;
}

void print_functions(const SpectrumOutcome& outcome) {
  const bool several = outcome.tables.points.size() > 1;
  for (const auto& row : outcome.rows.functions) {
    const auto& part = outcome.tables.parts[static_cast<std::size_t>(row.part)];
    print_words(fmt::format(
        "{}{}: {} {}\n", several ? fmt::format("step {}, ", row.step) : "", part.name,
        outcome.tables.functions[static_cast<std::size_t>(row.function)], function_text(row)));
  }
}

void print_preconditioning(const SpectrumOutcome& outcome) {
  for (const auto& row : outcome.rows.preconditioning) {
    const auto& part = outcome.tables.parts[static_cast<std::size_t>(row.part)];
    print_words(fmt::format(
        "{}: condition number {:.3g} [{:.3g}, {:.3g}], under Adam {:.3g} [{:.3g}, {:.3g}]\n",
        part.name, row.condition, row.condition_low, row.condition_high, row.condition_adam,
        row.condition_adam_low, row.condition_adam_high));
  }
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

void print_json(const SpectrumOutcome& outcome) {
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const auto& row : outcome.rows.summary) {
    const auto b = static_cast<std::size_t>(row.part);
    const auto* low = end_of(outcome, row, false);
    const auto* high = end_of(outcome, row, true);
    const auto converged = [](const EigenvalueRow* end) {
      return end != nullptr && end->converged != 0;
    };
    parts.push_back({{"step", row.step},
                     {"name", outcome.tables.parts[b].name},
                     {"elements", outcome.tables.parts[b].size()},
                     {"loss", number(row.loss)},
                     {"smallest", number(low == nullptr ? NAN : low->value)},
                     {"smallest_converged", converged(low)},
                     {"largest", number(high == nullptr ? NAN : high->value)},
                     {"largest_converged", converged(high)},
                     {"copies_found", row.copies_found == 1},
                     {"trace", number(row.trace)},
                     {"trace_error", number(row.trace_error)},
                     {"trace_low", number(row.trace_low)},
                     {"trace_high", number(row.trace_high)},
                     {"products", row.products},
                     {"gradients", row.gradients},
                     {"seconds", row.seconds}});
  }
  const nlohmann::ordered_json word = {
      {"state", run_state_names()[static_cast<std::size_t>(outcome.state)]},
      {"file", outcome.file},
      {"blocks", parts}};
  fmt::print("{}\n", json_text(word));
}

// The measurement stands without its picture.
void draw_figure(const std::string& folder) {
  const auto figure = (fs::path(folder) / "figure.png").string();
  try {
    python_output({"blockwise.figures", folder, "--output", figure});
    fmt::print("Figure  {}\n", figure);
  } catch (const std::exception& error) {
    std::fputs(fmt::format("blockwise: no figure: {}\n", error.what()).c_str(), stderr);
  }
}

// Those of a run, oldest first, behind the models that are named.
void add_checkpoints(SpectrumOptions& options) {
  if (options.checkpoints.empty()) return;
  const auto steps = checkpoint_steps(options.checkpoints);
  require_input(!steps.empty(), "--checkpoints {}: this run has no checkpoint",
                options.checkpoints);
  for (const auto step : steps) {
    options.models.push_back(checkpoint_folder(options.checkpoints, step).string());
  }
}

int spectrum_command(SpectrumOptions options) {
  add_checkpoints(options);
  const auto place = rank_place(::getenv);
  const auto spectrum = resolve_spectrum(read_config(options), place.size);
  if (place.rank > 0) {
    return follow_first(place, spectrum.config, options.dry_run, [&](const Ranks& ranks) {
      return measure_spectrum(spectrum, {}, ranks).state;
    });
  }
  print_note(spectrum.plan.memory.note);
  if (!options.json) print_plan(spectrum);
  if (options.dry_run) return 0;
  print_note(thread_note(spectrum.config.trainer.threads));
  const Ranks ranks = meet_ranks(place, spectrum.config);
  install_stop_handlers("product");
  SpectrumOutcome outcome;
  {
    Progress bar("products", spectrum.plan.measurement.products * std::ssize(spectrum.points));
    outcome = measure_spectrum(
        spectrum,
        {[&](std::int64_t done, const std::string& what) { bar.update(done, what); },
         stop_requested, stop_signal_name},
        ranks);
    bar.finish();
  }
  const bool stopped = outcome.state == RunState::interrupted;
  if (options.json) {
    print_json(outcome);
    return stopped ? report_stop(options.json) : kExitFinished;
  }
  print_models(spectrum);
  print_table(outcome, spectrum.config.hessian, options.tables.columns());
  print_functions(outcome);
  print_preconditioning(outcome);
  fmt::print("Numbers {}\n", outcome.file);
  if (stopped) return report_stop(options.json);
  if (!options.no_figure) draw_figure(spectrum.config.output);
  return kExitFinished;
}

}  // namespace

int run_verb(const SpectrumOptions& options) {
  const auto measure = [&] { return spectrum_command(options); };
  return run_with_flag_hints(flags_of(options), measure);
}

}  // namespace blockwise
