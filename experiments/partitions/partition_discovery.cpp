#include "experiments/partitions/partition_discovery.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/curvature/led_work.hpp"
#include "experiments/partitions/condition_measurement.hpp"
#include "experiments/partitions/energy_measurement.hpp"
#include "experiments/partitions/loss_search.hpp"
#include "experiments/partitions/moment_measurement.hpp"
#include "experiments/partitions/partition_merges.hpp"
#include "experiments/partitions/section_candidates.hpp"
#include "experiments/records/program_version.hpp"
#include "experiments/training/found_on.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// ---- the file

Evidence evidence_of(const SectionScores& section) {
  if (!section.is_matrix) return {};
  const auto& chosen = section.candidates[section.chosen];
  return {{"loss", chosen.loss},
          {"loss_error", chosen.loss_error},
          {"lift", chosen.lift},
          {"lift_error", chosen.lift_error},
          {"inside", chosen.inside},
          {"inside_error", chosen.inside_error},
          {"diagonal_inside", chosen.diagonal_inside},
          {"diagonal_inside_error", chosen.diagonal_inside_error},
          {"signal_to_noise", chosen.signal_to_noise},
          {"condition", chosen.condition}};
}

// Those of the scores, and those of the trials.
std::vector<std::int64_t> seeds_of(const RunConfig& config) {
  std::set<std::int64_t> all = {config.seed};
  if (config.discovery.by_loss()) {
    for (const auto seed : seed_range(1, config.discovery.trial_seeds)) all.insert(seed);
  }
  return {all.begin(), all.end()};
}

PartitionFile file_of(const ResolvedDiscovery& discovery, const DiscoveryOutcome& outcome) {
  const auto& config = discovery.config;
  PartitionFile file;
  file.partition = outcome.partition;
  file.provenance = {{"program", program_version()},
                     {"configuration", discovery.hash},
                     {"objective", config.discovery.objective},
                     {"model", config.model.from.empty() ? "fresh" : "trained"},
                     {"products", fmt::format("{}", discovery.work.products)},
                     {"gradients", fmt::format("{:.0f}", discovery.gradients)},
                     {"shuffled", config.discovery.shuffle ? "yes" : "no"},
                     {kFoundOnKey, seeds_text(seeds_of(config))}};
  for (const auto& validation : outcome.validation) {
    const bool other = validation.batches == "other";
    file.provenance.emplace_back(other ? "validation_other_batches" : "validation",
                                 validation_text(validation));
  }
  file.evidence.resize(discovery.layout.parameters().size());
  for (const auto& section : outcome.sections) {
    file.evidence[section.tensor].push_back(evidence_of(section));
  }
  return file;
}

// ---- the search

void decide_by_loss(const ResolvedDiscovery& discovery, LossOracle& oracle,
                    DiscoveryOutcome& outcome) {
  auto found = search_by_loss(discovery, oracle, outcome.sections);
  outcome.exhausted = found.result == PairedTrials::Result::exhausted;
  outcome.decisions = std::move(found.decisions);
  write_file_atomically(fs::path(discovery.config.output) / "decisions.csv",
                        decisions_csv(outcome.decisions));
}

void merge(const DiscoveryPoint& point, WorkMeter& meter, std::vector<SectionScores>& sections) {
  const auto couplings = section_couplings(point, meter);
  merge_sections(couplings, point.vectors, sections);
  write_file_atomically(fs::path(point.discovery.config.output) / "couplings.csv",
                        couplings_csv(couplings, point.vectors, point.discovery.layout, sections));
}

DiscoveryOutcome discover(const ResolvedDiscovery& discovery, LossOracle& oracle, WorkMeter& meter,
                          const Ranks& ranks) {
  const auto& config = discovery.config.discovery;
  const fs::path folder = discovery.config.output;
  const auto probes = folder / "probes.h5";
  const DiscoveryPoint point(discovery, ranks);
  DiscoveryOutcome outcome;
  outcome.sections = all_sections(config, discovery.layout);

  measure_energies(point, probes, meter, outcome.sections);
  measure_moments(point, meter, outcome.sections);
  if (config.by_loss()) {
    decide_by_loss(discovery, oracle, outcome);
  } else {
    choose_by(config.objective, discovery, outcome.sections);
  }
  if (config.merge) merge(point, meter, outcome.sections);
  measure_conditions(point, meter, outcome.sections);
  outcome.validation = validate_partition(point, outcome.sections, meter);
  meter.require_going();

  outcome.partition =
      chosen_partition(discovery.layout, "discovered by " + config.objective, outcome.sections);
  outcome.file = (folder / "partition.yaml").string();
  write_file_atomically(folder / "scores.csv", scores_csv(discovery.layout, outcome.sections));
  write_file_atomically(outcome.file,
                        partition_text(discovery.layout, file_of(discovery, outcome)));
  fs::remove(probes);
  outcome.finished = true;
  outcome.work = meter.done();
  return outcome;
}

void require_no_trials(const ResolvedDiscovery& discovery, const Ranks& ranks) {
  require_input(ranks.is_alone() || !discovery.config.discovery.by_loss(),
                "discovery.objective: loss is by training runs, each a process of its own; start "
                "it once, without the launcher of {} processes",
                ranks.size());
}

}  // namespace

DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery, LossOracle& oracle,
                                    const WorkObserver& observe, const StopQuery& stop,
                                    const Ranks& ranks) {
  require_no_trials(discovery, ranks);
  const OutputFolder taken(discovery.config.output);
  write_file_atomically(fs::path(discovery.config.output) / "config.yaml",
                        to_yaml(discovery.config));
  set_threads(discovery.config.trainer.threads);
  WorkMeter meter(observe, stop);
  DiscoveryOutcome outcome;
  try {
    outcome = discover(discovery, oracle, meter, ranks);
  } catch (const Stopped&) {
    // What had been measured is in probes.h5.
  }
  lead_end(ranks, outcome.finished);
  return outcome;
}

RunState serve_discovery(const ResolvedDiscovery& discovery, const Ranks& ranks) {
  require_no_trials(discovery, ranks);
  set_threads(discovery.config.trainer.threads);
  const DiscoveryPoint point(discovery, ranks);
  const auto curvature = [&](std::int64_t further) { point.curvature(further)->serve(); };
  const bool finished = serve_work(ranks, {curvature, [&] { moments_at(point, {}); }}) != 0;
  return finished ? RunState::finished : RunState::interrupted;
}

}  // namespace blockwise
