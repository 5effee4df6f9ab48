#include "experiments/sweeps/sweep_member_check.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config/config_keys.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/data_files.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/past_run.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/run_end.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdvice = "Delete the member's folder to have it made and run again.";

std::vector<ConfigDifference> rewritten(std::vector<ConfigDifference> differences) {
  std::erase_if(differences,
                [](const ConfigDifference& one) { return one.key == "trainer.threads"; });
  return differences;
}

// As find_past_run() finds it, but a process may be at work on it: nothing is mended. Its rows are
// read only where something changes: a search asks for all of its trials again and again.
std::optional<PastRun> begun_run(const fs::path& folder, const std::string& wanted, bool changes) {
  PastRun past;
  std::vector<std::int64_t> steps;
  if (input_exists(folder / "checkpoints")) steps = checkpoint_steps(folder);
  if (!steps.empty()) past.checkpoint = steps.back();
  try {
    const auto file = folder / "run.h5";
    if (input_exists(file)) {
      past.identity = read_run_identity(file);
      changes =
          changes || !rewritten(config_differences(past.identity.config_yaml, wanted)).empty();
      if (changes) past.result = read_run(file);
      return past;
    }
  } catch (const InputError&) {
    past.result.reset();
  }
  try {
    if (steps.empty()) return std::nullopt;
    past.identity = identity_of_checkpoint(checkpoint_folder(folder, steps.back()));
    return past;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

RunConfig read_config(const fs::path& path) {
  try {
    return YamlDocument::load(path).run_config();
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}. {}", error.what(), kAdvice));
  }
}

bool leads_nowhere(const std::string& path) { return path.empty() || path == "\"\""; }

// Of a member that nobody started: paths may change, and nobody knows what they led to. A partition
// or rates of its own, where there were none, are another run.
bool defines(const ConfigDifference& difference) {
  const auto kind = key_kind(difference.key);
  if (kind != KeyKind::content) return kind == KeyKind::defining;
  return difference.key.starts_with("optimizer.") &&
         (leads_nowhere(difference.there) || leads_nowhere(difference.here));
}

std::vector<ConfigDifference> defining(std::vector<ConfigDifference> differences) {
  std::erase_if(differences, [](const ConfigDifference& one) { return !defines(one); });
  return differences;
}

bool has_hash(const SweepMember& member, const std::string& hash) {
  return member.hash.empty() || member.hash == hash || std::ranges::count(member.shorter, hash) > 0;
}

[[noreturn]] void refuse_plan(const fs::path& folder, const SweepMember& member,
                              const std::string& what) {
  throw InputError(fmt::format(
      "{}: the member '{}' was prepared with another configuration: {}. A sweep grows by members "
      "and changes nothing that defines one: give this one another `output`, or delete the folder.",
      manifest_file(folder).string(), member.plan.id, what));
}

[[noreturn]] void refuse_run(const fs::path& folder, const SweepMember& member,
                             const std::string& what) {
  throw InputError(
      fmt::format("{}: the member '{}' of the sweep ran with another configuration: {}. {}",
                  (folder / member.run).string(), member.plan.id, what, kAdvice));
}

[[noreturn]] void refuse_hand(const fs::path& folder, const SweepMember& member,
                              const std::string& what) {
  throw InputError(
      fmt::format("{}: the member '{}' of the sweep was changed since it was prepared: {}. {}",
                  (folder / member.config).string(), member.plan.id, what, kAdvice));
}

std::int64_t steps_that_stay(const PastRun& past) {
  const bool finished = past.result && past.result->state == RunState::finished;
  return finished ? past.result->last_step : past.steps();
}

}  // namespace

const std::vector<DataFile>& MemberCheck::data_of(const RunConfig& config,
                                                  const std::string& yaml) {
  std::string section;
  const ConfigLines lines(yaml);
  for (const auto& line : lines.lines()) {
    if (line.path.starts_with("data.")) section += line.path + ": " + line.value + "\n";
  }
  const auto found = data_.find(section);
  return found != data_.end() ? found->second : data_[section] = data_files(config);
}

MemberChange MemberCheck::apply(SweepMember& member, const SweepMember* known) {
  MemberChange change;
  change.id = member.plan.id;
  const auto path = folder_ / member.config;
  const auto config = YamlDocument::parse(member.yaml, path.string()).run_config();
  std::string there;
  if (known != nullptr && input_exists(path)) there = to_yaml(read_config(path));
  const auto differences =
      there.empty() ? std::vector<ConfigDifference>() : config_differences(there, member.yaml);
  change.keys = rewritten(differences);
  const auto by_hand = defining(differences);
  const auto past = begun_run(path.parent_path(), member.yaml, !change.keys.empty());
  if (!past) {
    if (by_hand.empty()) return change;
    const bool as_prepared = has_hash(*known, config_hash(ConfigLines(there), named_files(config)));
    (as_prepared ? refuse_plan : refuse_hand)(folder_, member, differences_text(by_hand));
  }
  const WantedRun wanted{config, data_of(config, member.yaml)};
  auto judged = judge_run(past->identity, wanted, steps_that_stay(*past));
  if (!judged.going) {
    const bool as_planned = known != nullptr && has_hash(*known, past->identity.hash);
    (as_planned ? refuse_plan : refuse_run)(folder_, member, judged.another);
  }
  if (!by_hand.empty()) refuse_hand(folder_, member, differences_text(by_hand));
  member.hash = judged.going->identity.hash;
  member.shorter = judged.going->hashes;
  std::erase(member.shorter, member.hash);
  const bool ended = past->result && is_over(*past->result, member.yaml);
  change.run = ended ? MemberChange::Run::has_ended : MemberChange::Run::goes_on;
  if (!ended) change.rates_note = std::move(judged.going->rates_note);
  return change;
}

}  // namespace blockwise
