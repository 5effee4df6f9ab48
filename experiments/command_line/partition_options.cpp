#include "experiments/command_line/partition_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <stdexcept>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {
namespace {

// "0.001" or "0.1%"
std::string share(std::string& text) {
  try {
    std::size_t end = 0;
    double value = std::stod(text, &end);
    const auto rest = text.substr(end);
    if (rest == "%") value /= 100.0;
    if ((!rest.empty() && rest != "%") || !(value > 0.0 && value <= 1.0))
      throw std::range_error("");
    text = fmt::format("{}", value);
  } catch (const std::exception&) {
    return fmt::format("'{}' is no share above 0, like 0.001 or 0.1%", text);
  }
  return "";
}

}  // namespace

void add_options(CLI::App& verb, PartitionOptions& options) {
  verb.add_option("config", options.config,
                  "YAML file of a run; its sections `discovery` and `hessian` say how it is found");
  verb.add_option(
      "--model", options.model,
      "run, checkpoint or Hugging Face folder, instead of a fresh model; a run needs no "
      "YAML: its folder has one");
  verb.add_option("--objective", options.objective, "energy, homogeneity, signal_to_noise or loss");
  verb.add_option("--jobs", options.jobs,
                  "by loss: training runs at a time; the threads are divided")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb.add_option("--max-state", options.max_state,
                  "bound on the second moment's values: a share of the parameters, or 0.1%")
      ->transform(CLI::Validator(share, "SHARE"));
  add_set_option(verb, options.assignments);
  verb.add_option(
          "--agree-with", options.agree_with,
          "partition file of another seed, other batches or another checkpoint: how far the "
          "two agree; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--output", options.output, "folder; default: that of the run, and -partition");
  verb.add_option("--threads", options.threads, "CPU threads, instead of the file's")
      ->check(CLI::Range(0, 4096));
  verb.add_flag("--dry-run", options.dry_run, "print cost and memory, measure nothing");
  verb.add_flag("--json", options.json, "machine-readable last word");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
