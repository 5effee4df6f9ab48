#include "experiments/sweep_member_check.hpp"

#include <optional>
#include <sstream>

#include "core/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config_text.hpp"
#include "experiments/config_yaml.hpp"
#include "experiments/continuation.hpp"
#include "experiments/run_recorder.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdvice = "Delete the member's folder to have it made and run again.";

struct Difference {
  std::string there, planned;  // "learning_rate: 0.05" and "learning_rate: 0.0015"
};

std::string trimmed(const std::string& line) {
  return line.substr(std::min(line.size(), line.find_first_not_of(' ')));
}

// The first line in which two configurations differ, which have the same keys in the same order.
std::optional<Difference> first_difference(const std::string& there, const std::string& planned) {
  std::istringstream left(there), right(planned);
  for (std::string a, b; std::getline(left, a) && std::getline(right, b);) {
    if (a != b) return Difference{trimmed(a), trimmed(b)};
  }
  return std::nullopt;
}

std::optional<Difference> difference_of(const RunConfig& there, const RunConfig& planned) {
  const auto with_names = [](const RunConfig& config) {
    return fmt::format("name: {}\noutput: {}\n", config.name, config.output) +
           experiment_yaml(config);
  };
  return first_difference(with_names(there), with_names(planned));
}

// A member that somebody let go on by hand, with other settings that do not define a run, has them
// in its configuration.
bool goes_on_as(const RunConfig& there, const RunConfig& planned) {
  return defining_differences(to_yaml(there), to_yaml(planned)).empty() &&
         named_files(there) == named_files(planned);
}

RunConfig read_config(const fs::path& path) {
  try {
    return YamlDocument::load(path).run_config();
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}. {}", error.what(), kAdvice));
  }
}

RunConfig planned_config(const fs::path& path, const SweepMember& member) {
  return YamlDocument::parse(member.yaml, path.string()).run_config();
}

}  // namespace

void check_member_config(const SweepManifest& sweep, const SweepMember& member) {
  const auto path = sweep.folder / member.config;
  const auto there = read_config(path);
  const auto planned = planned_config(path, member);
  const bool known = config_hash(there) == member.hash || goes_on_as(there, planned);
  const bool same_place = there.name == planned.name && fs::weakly_canonical(there.output) ==
                                                            fs::weakly_canonical(planned.output);
  if (known && same_place) return;
  const auto difference = difference_of(there, planned);
  throw InputError(
      fmt::format("{}: the member '{}' of the sweep was changed since it was prepared: {}. {}",
                  path.string(), member.plan.id,
                  difference ? fmt::format("{}, not {}", difference->there, difference->planned)
                             : "a file that it names has another content",
                  kAdvice));
}

void check_member_run(const SweepManifest& sweep, const SweepMember& member) {
  const auto path = sweep.folder / member.run;
  if (!input_exists(path)) return;
  std::string hash;
  try {
    hash = run_config_hash(path);
  } catch (const InputError&) {
    return;
  }
  require_input(hash == member.hash,
                "{}: the member '{}' of the sweep ran with another configuration (hash {}, it is "
                "to have {}). {}",
                path.string(), member.plan.id, hash, member.hash, kAdvice);
}

void check_member_same(const SweepManifest& sweep, const SweepMember& member,
                       const std::string& before) {
  if (before.empty() || before == member.hash) return;
  const auto path = sweep.folder / member.config;
  auto what = fmt::format("hash {}, by now it is {}", before, member.hash);
  if (input_exists(path)) {
    const auto difference = difference_of(read_config(path), planned_config(path, member));
    what = difference ? fmt::format("{}, by now it is {}", difference->there, difference->planned)
                      : "a file that it names had another content";
  }
  throw InputError(fmt::format(
      "{}: the member '{}' was prepared with another configuration ({}). A sweep grows by members "
      "and changes none: give this one another `output`, or delete the folder.",
      manifest_file(sweep.folder).string(), member.plan.id, what));
}

}  // namespace blockwise
