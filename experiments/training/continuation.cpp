#include "experiments/training/continuation.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/base/error.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config/config_keys.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/former_keys.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMostNamed = 6;

bool differs(const std::string& key, const std::string& there, const std::string& here) {
  if (there == here) return false;
  const auto& only = there.empty() ? here : there;
  return !(there.empty() || here.empty()) || !is_later_default(key, only);
}

std::int64_t whole(const std::string& value) {
  std::int64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  return number;
}

std::string shown(const std::string& value) { return value.empty() ? "not given" : value; }

bool leads_nowhere(const std::string& path) { return path.empty() || path == "\"\""; }

// Whether a configuration measures curvature while it trains.
bool measures(const ConfigLines& config) {
  const auto at_steps = config.value("hessian.at_steps");
  return whole(config.value("hessian.every")) > 0 || (!at_steps.empty() && at_steps != "[]");
}

// With what does not define the run as it was at the start.
ConfigLines at_start(const std::string& yaml, const std::vector<ConfigChange>& changes) {
  ConfigLines config(yaml);
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    if (key_kind(change->key) != KeyKind::length)
      config.set(present_key(change->key), change->before);
  }
  return config;
}

std::string mixed(const std::string& hash, const std::optional<RunOrigin>& origin) {
  if (!origin) return hash;
  return sha256(hash + origin->config_hash + origin->sha256).substr(0, 16);
}

std::string identity_hash(const RunIdentity& identity, const std::string& files) {
  const auto config = at_start(identity.config_yaml, identity.history.changes);
  return mixed(config_hash(config, files), identity.history.origin);
}

// Of this and of every length that the run had before.
std::vector<std::string> hashes_of(const RunIdentity& identity, const std::string& files) {
  std::vector<std::string> hashes = {identity.hash};
  auto earlier = identity;
  ConfigLines config(identity.config_yaml);
  const auto& changes = identity.history.changes;
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    if (key_kind(change->key) != KeyKind::length) continue;
    config.set(change->key, change->before);
    earlier.config_yaml = config.yaml();
    hashes.push_back(identity_hash(earlier, files));
  }
  return hashes;
}

// What makes it another run; thrown and caught in this file alone.
struct AnotherRun {
  std::string what;
};

class Comparison {
 public:
  Comparison(const RunIdentity& past, const WantedRun& wanted, std::int64_t steps)
      : past_(past),
        wanted_(wanted),
        steps_(steps),
        there_(past.config_yaml),
        here_(to_yaml(wanted.config)),
        files_(named_files(wanted.config)) {
    for (auto& difference : config_differences(past.config_yaml, here_)) sort_in(difference);
  }

  Continuation result() {
    require_same_run();
    require_same_files();
    std::set<std::string> keys;
    for (const auto& file : wanted_.data) keys.insert(file.key);
    for (const auto& key : keys) require_same_data(key);
    require_length();
    Continuation going;
    going.identity = {here_, "", past_.history, past_.has_curvature};
    going.changes = changed_;
    going.identity.history.data = wanted_.data;
    record_changes(going);
    going.identity.hash = identity_hash(going.identity, files_);
    going.hashes = hashes_of(going.identity, files_);
    going.rates_note = rates_note_;
    if (!rates_note_.empty()) going.notes.push_back(rates_note_);
    return going;
  }

 private:
  void sort_in(const ConfigDifference& difference) {
    switch (key_kind(difference.key)) {
      case KeyKind::curvature:
        (past_.has_curvature ? defining_ : changed_).push_back(difference);
        return;
      case KeyKind::defining:
        defining_.push_back(difference);
        return;
      case KeyKind::length:
        lengths_.push_back(difference);
        [[fallthrough]];
      default:
        changed_.push_back(difference);
    }
  }

  [[noreturn]] static void refuse(const std::string& what) { throw AnotherRun{what}; }

  void require_same_run() const {
    if (!defining_.empty()) refuse(differences_text(defining_));
  }

  // The files whose content is in the hash: it is the same with what is in them now, or they are
  // others.
  void require_same_files() const {
    if (identity_hash(past_, files_) == past_.hash) return;
    const auto& optimizer = wanted_.config.optimizer;
    std::string named;
    for (const auto& [key, path] : {std::pair("optimizer.partition.file", optimizer.partition.file),
                                    std::pair("optimizer.block_lr", optimizer.block_lr),
                                    std::pair("optimizer.weights", optimizer.spec->file())}) {
      if (!path.empty()) named += fmt::format("{}{} ({})", named.empty() ? "" : " or ", key, path);
    }
    if (!named.empty()) refuse(named + " has another content than when the run started");
    refuse(fmt::format("its hash is {}, that of what stands beside it is {}", past_.hash,
                       identity_hash(past_, files_)));
  }

  void require_same_data(const std::string& key) {
    const auto before = files_of(past_.history.data, key), now = files_of(wanted_.data, key);
    if (past_.history.data.empty()) {  // of an earlier version
      const auto moved = std::ranges::find(changed_, key, &ConfigDifference::key);
      if (moved == changed_.end() || leads_nowhere(moved->there)) return;
      refuse(differences_text({*moved}) +
             ", and nobody can tell whether that is the same: an earlier version started the run, "
             "which did not note what its data were");
    }
    if (before.empty()) return;  // a set that is new: no step depends on it
    const auto difference = content_difference(before, now);
    if (!difference.empty()) refuse(fmt::format("{} has changed: {}", key, difference));
  }

  void require_length() {
    if (lengths_.empty()) return;
    const auto steps = wanted_.config.trainer.steps;
    if (steps < steps_) {
      refuse(fmt::format("{}; it has done {} steps", differences_text(lengths_), steps_));
    }
    if (same_rates()) return;
    const auto before = whole(there_.value("trainer.steps"));
    if (before == steps) refuse(differences_text(lengths_));
    rates_note_ = fmt::format(
        "the schedule '{}' depends on the run's length, which was {} and is {}: steps 1 to {} had "
        "the learning rates of the old one, from step {} on those of the new one hold, so this is "
        "not the run that had {} from the start",
        wanted_.config.schedule.name, before, steps, steps_, steps_ + 1, steps);
  }

  // Of the steps that stay, under the length there and here.
  bool same_rates() const {
    const auto& now = wanted_.config.schedule;
    auto before = now;
    before.steps = whole(there_.value("schedule.steps"));
    const auto steps = whole(there_.value("trainer.steps"));
    for (std::int64_t t = 0; t < steps_; ++t) {
      const bool same = schedule_fraction(before, t, steps) ==
                        schedule_fraction(now, t, wanted_.config.trainer.steps);
      if (!same) return false;
    }
    return true;
  }

  void record_changes(Continuation& going) const {
    auto& changes = going.identity.history.changes;
    for (auto& change : changes) change.from_step = std::min(change.from_step, steps_ + 1);
    std::string text;
    for (const auto& [key, there, here] : changed_) {
      changes.push_back({steps_ + 1, key, there, here});
      // Every start may have others of these, and /provenance/processes has them.
      if (key == "trainer.threads" || key == "trainer.device") continue;
      text +=
          fmt::format("{}{} {} (was {})", text.empty() ? "" : ", ", key, shown(here), shown(there));
    }
    if (!text.empty()) going.notes.push_back(fmt::format("from step {} on: {}", steps_ + 1, text));
  }

  const RunIdentity& past_;
  const WantedRun& wanted_;
  std::int64_t steps_;
  ConfigLines there_;
  std::string here_;
  std::string files_;
  std::vector<ConfigDifference> defining_, lengths_, changed_;  // lengths are changed, too
  std::string rates_note_;
};

}  // namespace

std::vector<ConfigDifference> config_differences(const std::string& there,
                                                 const std::string& here) {
  const ConfigLines left(there), right(here);
  std::vector<ConfigDifference> differences;
  for (const auto& line : right.lines()) {
    const auto other = left.value(line.path);
    if (differs(line.path, other, line.value))
      differences.push_back({line.path, other, line.value});
  }
  for (const auto& line : left.lines()) {
    const bool gone = right.value(line.path).empty() && differs(line.path, line.value, "");
    if (gone) differences.push_back({line.path, line.value, ""});
  }
  return differences;
}

std::vector<ConfigDifference> defining_differences(const std::string& there,
                                                   const std::string& here) {
  const bool curvature = measures(ConfigLines(there)) && measures(ConfigLines(here));
  auto differences = config_differences(there, here);
  std::erase_if(differences, [&](const ConfigDifference& difference) {
    const auto kind = key_kind(difference.key);
    return kind == KeyKind::free || (kind == KeyKind::curvature && !curvature);
  });
  return differences;
}

std::string differences_text(const std::vector<ConfigDifference>& differences) {
  std::string text;
  for (std::size_t i = 0; i < std::min(differences.size(), kMostNamed); ++i) {
    const auto& [key, there, here] = differences[i];
    text += fmt::format("{}{} is {} there and {} here", i == 0 ? "" : ", ", key, shown(there),
                        shown(here));
  }
  const auto more = differences.size() - std::min(differences.size(), kMostNamed);
  return more == 0 ? text : fmt::format("{}, and {} more", text, more);
}

JudgedRun judge_run(const RunIdentity& past, const WantedRun& wanted, std::int64_t steps) {
  try {
    return {Comparison(past, wanted, steps).result(), ""};
  } catch (const AnotherRun& another) {
    return {std::nullopt, another.what};
  }
}

Continuation continue_run(const std::string& place, const RunIdentity& past,
                          const WantedRun& wanted, std::int64_t steps) {
  auto judged = judge_run(past, wanted, steps);
  if (judged.going) return std::move(*judged.going);
  throw InputError(fmt::format(
      "{}: this folder holds a run with another configuration: {}. Give this run another "
      "`output`, or start it from that one's state with --from",
      place, judged.another));
}

RunIdentity new_identity(const WantedRun& wanted, const std::optional<RunOrigin>& origin) {
  RunIdentity identity{to_yaml(wanted.config), "", {{}, wanted.data, origin}, false};
  identity.hash = identity_hash(identity, named_files(wanted.config));
  return identity;
}

}  // namespace blockwise
