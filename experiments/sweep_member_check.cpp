#include "experiments/sweep_member_check.hpp"

#include <sstream>

#include "core/error.hpp"
#include "experiments/config_text.hpp"
#include "experiments/config_yaml.hpp"
#include "experiments/run_recorder.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdvice = "Delete the member's folder to have it made and run again.";

// "learning_rate: 0.05, not learning_rate: 0.0015": the first line in which two configurations
// differ, which have the same keys in the same order.
std::string first_difference(const std::string& there, const std::string& planned) {
  std::istringstream left(there), right(planned);
  for (std::string a, b; std::getline(left, a) && std::getline(right, b);) {
    const auto trimmed = [](const std::string& line) {
      return line.substr(std::min(line.size(), line.find_first_not_of(' ')));
    };
    if (a != b) return fmt::format("{}, not {}", trimmed(a), trimmed(b));
  }
  return "a file that it names has another content";
}

}  // namespace

void check_member_config(const SweepManifest& sweep, const SweepMember& member,
                         const std::string& yaml) {
  const auto path = sweep.folder / member.config;
  const auto there = YamlDocument::load(path).run_config();
  const auto planned = YamlDocument::parse(yaml, path.string()).run_config();
  const bool same = config_hash(there) == member.hash && there.name == planned.name &&
                    there.output == planned.output;
  if (same) return;
  const auto with_names = [](const RunConfig& config) {
    return fmt::format("name: {}\noutput: {}\n", config.name, config.output) +
           experiment_yaml(config);
  };
  throw InputError(fmt::format(
      "{}: the member '{}' of the sweep was changed since it was prepared: {}. {}", path.string(),
      member.plan.id, first_difference(with_names(there), with_names(planned)), kAdvice));
}

void check_member_run(const SweepManifest& sweep, const SweepMember& member) {
  const auto path = sweep.folder / member.run;
  if (!fs::exists(path)) return;
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

}  // namespace blockwise
