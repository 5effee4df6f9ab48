#include "experiments/partitions/partition_discovery.hpp"

#include <algorithm>
#include <set>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/output_folder.hpp"
#include "core/memory/device.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/partitions/partition_measurement.hpp"
#include "experiments/partitions/partition_merges.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "experiments/training/found_on.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

class Discovery {
 public:
  Discovery(const ResolvedDiscovery& discovery, const ProductObserver& observe)
      : d_(discovery),
        c_(discovery.config.discovery),
        folder_(discovery.config.output),
        point_(discovery),
        sections_(all_sections(c_, discovery.layout)),
        vectors_(discovery.layout, c_, sections_),
        observe_([this, &observe](const std::string& what) { observe(++done_, what); }) {}

  DiscoveryOutcome run(LossOracle& oracle) {
    const auto state = folder_ / "probes.h5";
    PartitionMeasurement measurement(point_, vectors_, sections_, state.string(), observe_);
    if (c_.needs_products() && !measurement.energies()) return {};
    if (!measurement.moments()) return {};
    DiscoveryOutcome outcome;
    if (!c_.by_loss()) {
      propose(c_.objective);
    } else if (!search_by_loss(oracle, outcome)) {
      return {};
    }
    if (c_.merge && !merge()) return {};
    if (c_.needs_products() && !measurement.conditions()) return {};
    if (c_.needs_products()) {
      outcome.validation = validate_partition(point_, vectors_, sections_, observe_);
    }
    if (stop_requested()) return {};
    write(outcome);
    fs::remove(state);
    outcome.finished = true;
    outcome.sections = std::move(sections_);
    return outcome;
  }

 private:
  bool merge() {
    const auto couplings = section_couplings(point_, vectors_, observe_);
    if (couplings.products < kCouplingVectors * kCouplingCodes) return false;
    merge_sections(couplings, vectors_, sections_);
    write_file_atomically(folder_ / "couplings.csv",
                          couplings_csv(couplings, vectors_, d_.layout, sections_));
    return true;
  }

  // ---- the choice

  void propose(const std::string& objective) {
    auto config = c_;
    config.objective = objective;
    score(config, sections_);
    choose(config, d_.layout.size(), sections_);
  }

  std::vector<Proposal> proposals() {
    std::vector<Proposal> all = {{"adam_mini", adam_mini_choice(sections_)}};
    for (const std::string objective : {"homogeneity", "energy"}) {
      propose(objective);
      all.push_back({objective, chosen_candidates(sections_)});
    }
    return all;
  }

  Partition partition_of(const PartitionChoice& choice) const {
    auto sections = sections_;
    for (std::size_t s = 0; s < sections.size(); ++s) sections[s].chosen = choice[s];
    return chosen_partition(d_.layout, "trial", sections);
  }

  // The run with the partition; named by it, so that equal partitions are one arm.
  Arm trial(const PartitionChoice& choice) const {
    const auto partition = partition_of(choice);
    const auto id = partition_hash(d_.layout, partition).substr(0, 12);
    const auto path = folder_ / "trials/partitions" / (id + ".yaml");
    fs::create_directories(path.parent_path());
    if (!input_exists(path))
      write_file_atomically(path, partition_text(d_.layout, {partition, {}, {}, {}}));
    auto config = trial_run(d_.config, c_.trial_steps);
    config.optimizer.partition = {};
    config.optimizer.partition.file = path.string();
    return {id, config};
  }

  bool search_by_loss(LossOracle& oracle, DiscoveryOutcome& outcome) {
    PairedTrials trials(oracle, {c_.max_trials, c_.trial_seeds});
    const auto all = proposals();
    const RoleSearch search{sections_, [&](const PartitionChoice& choice) { return trial(choice); },
                            static_cast<std::int64_t>(c_.max_state * double(d_.layout.size())),
                            c_.tolerance};
    auto found = search_roles(search, all, trials);
    if (found.result == PairedTrials::Result::stopped) return false;
    write_file_atomically(folder_ / "decisions.csv", decisions_csv(found.decisions));
    for (std::size_t s = 0; s < sections_.size(); ++s) sections_[s].chosen = found.choice[s];
    outcome.decisions = std::move(found.decisions);
    outcome.exhausted = found.result == PairedTrials::Result::exhausted;
    return true;
  }

  // ---- the files

  void write(DiscoveryOutcome& outcome) const {
    outcome.partition = chosen_partition(d_.layout, "discovered by " + c_.objective, sections_);
    const auto path = folder_ / "partition.yaml";
    write_file_atomically(folder_ / "scores.csv", scores_csv(d_.layout, sections_));
    write_file_atomically(path, partition_text(d_.layout, file_of(outcome)));
    outcome.file = path.string();
  }

  PartitionFile file_of(const DiscoveryOutcome& outcome) const {
    PartitionFile file;
    file.partition = outcome.partition;
    file.provenance = {{"program", program_version()},
                       {"configuration", d_.hash},
                       {"objective", c_.objective},
                       {"model", d_.config.model.from.empty() ? "fresh" : "trained"},
                       {"products", fmt::format("{}", d_.products)},
                       {"gradients", fmt::format("{:.0f}", d_.gradients)},
                       {"shuffled", c_.shuffle ? "yes" : "no"},
                       {kFoundOnKey, seeds_text(seeds())}};
    for (const auto& v : outcome.validation) {
      file.provenance.emplace_back(v.batches == "other" ? "validation_other_batches" : "validation",
                                   validation_text(v));
    }
    file.evidence.resize(d_.layout.blocks().size());
    for (const auto& section : sections_) {
      file.evidence[section.tensor].push_back(evidence_of(section));
    }
    return file;
  }

  // Those of the scores, and those of the trials.
  std::vector<std::int64_t> seeds() const {
    std::set<std::int64_t> all = {d_.config.seed};
    if (c_.by_loss()) {
      for (const auto seed : seed_range(1, c_.trial_seeds)) all.insert(seed);
    }
    return {all.begin(), all.end()};
  }

  static Evidence evidence_of(const SectionScores& section) {
    const auto& c = section.candidates[section.chosen];
    if (!section.is_matrix) return {};
    return {{"loss", c.loss},
            {"loss_error", c.loss_error},
            {"lift", c.lift},
            {"lift_error", c.lift_error},
            {"inside", c.inside},
            {"inside_error", c.inside_error},
            {"diagonal_inside", c.diagonal_inside},
            {"diagonal_inside_error", c.diagonal_inside_error},
            {"signal_to_noise", c.signal_to_noise},
            {"condition", c.condition}};
  }

  const ResolvedDiscovery& d_;
  const DiscoveryConfig& c_;
  fs::path folder_;
  DiscoveryPoint point_;
  std::vector<SectionScores> sections_;
  SectionVectors vectors_;
  std::function<void(const std::string&)> observe_;
  std::int64_t done_ = 0;
};

}  // namespace

DiscoveryOutcome discover_partition(const ResolvedDiscovery& discovery, LossOracle& oracle,
                                    const ProductObserver& observe) {
  const OutputFolder taken(discovery.config.output);
  write_file_atomically(fs::path(discovery.config.output) / "config.yaml",
                        to_yaml(discovery.config));
  set_threads(discovery.config.trainer.threads);
  try {
    return Discovery(discovery, observe).run(oracle);
  } catch (const Stopped&) {
    return {};  // what had been measured is in probes.h5
  }
}

}  // namespace blockwise
