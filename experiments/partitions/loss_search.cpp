#include "experiments/partitions/loss_search.hpp"

#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/sweeps/training_oracle.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// Leaves the scores by energy, which are what is shown beside the choice.
std::vector<Proposal> proposals_of(const ResolvedDiscovery& discovery,
                                   std::vector<SectionScores>& sections) {
  std::vector<Proposal> all = {{"adam_mini", adam_mini_choice(sections)}};
  for (const std::string objective : {"homogeneity", "energy"}) {
    choose_by(objective, discovery, sections);
    all.push_back({objective, chosen_candidates(sections)});
  }
  return all;
}

void set_choice(const PartitionChoice& choice, std::vector<SectionScores>& sections) {
  for (std::size_t i = 0; i < sections.size(); ++i) sections[i].chosen = choice[i];
}

// The run with the partition; named by it, so that equal partitions are one arm.
Arm arm_of(const ResolvedDiscovery& discovery, const Partition& partition) {
  const auto id = partition_hash(discovery.layout, partition).substr(0, 12);
  const auto path = fs::path(discovery.config.output) / "trials/partitions" / (id + ".yaml");
  fs::create_directories(path.parent_path());
  if (!input_exists(path)) {
    write_file_atomically(path, partition_text(discovery.layout, {partition, {}, {}, {}}));
  }
  auto config = trial_run(discovery.config, discovery.config.discovery.trial_steps);
  config.optimizer.partition = {};
  config.optimizer.partition.file = path.string();
  return {id, config};
}

}  // namespace

void choose_by(const std::string& objective, const ResolvedDiscovery& discovery,
               std::vector<SectionScores>& sections) {
  auto config = discovery.config.discovery;
  config.objective = objective;
  score(config, sections);
  choose(config, discovery.layout.size(), sections);
}

RoleSearchOutcome search_by_loss(const ResolvedDiscovery& discovery, LossOracle& oracle,
                                 std::vector<SectionScores>& sections) {
  const auto& config = discovery.config.discovery;
  PairedTrials trials(oracle, {config.max_trials, config.trial_seeds});
  const auto proposals = proposals_of(discovery, sections);
  const auto arm = [&](const PartitionChoice& choice) {
    auto chosen = sections;
    set_choice(choice, chosen);
    return arm_of(discovery, chosen_partition(discovery.layout, "trial", chosen));
  };
  const auto most_values =
      static_cast<std::int64_t>(config.max_state * double(discovery.layout.size()));
  auto found = search_roles({sections, arm, most_values, config.tolerance}, proposals, trials);
  if (found.result == PairedTrials::Result::stopped) throw Stopped();
  set_choice(found.choice, sections);
  return found;
}

}  // namespace blockwise
