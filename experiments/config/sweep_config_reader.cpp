#include "experiments/config/sweep_config_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/spelling.hpp"
#include "experiments/config/sweep_keys.hpp"
#include "experiments/config/wandb_words.hpp"

namespace blockwise {
namespace {

class SweepReader {
 public:
  explicit SweepReader(const YamlDocument::Tree& tree) : tree_(tree) {}

  SweepConfig read() {
    const YAML::Node node = std::as_const(tree_.root)["sweep"];
    if (!node.IsDefined() || !node.IsMap()) {
      const bool has_words = std::as_const(tree_.root)["parameters"].IsDefined() ||
                             std::as_const(tree_.root)["method"].IsDefined();
      throw InputError(fmt::format(
          "{}: there is no section 'sweep'; {}", tree_.name,
          has_words ? "`method` and `parameters` stand in it, beside the sections of a run"
                    : "`blockwise train` runs a file without one"));
    }
    SweepConfig sweep;
    allow(node, sweep_key_names(), wandb_section_hint);
    if (node["method"]) sweep.method = word(node["method"], {"grid", "random"}, wandb_method_hint);
    if (node["run_cap"]) sweep.run_cap = whole(node["run_cap"], kMaxMembers);
    if (node["seed"]) sweep.seed = whole(node["seed"]);
    sweep.seeds = node["seeds"] ? seeds(node["seeds"]) : std::vector<std::int64_t>{1};
    if (node["confirm"]) sweep.confirm_seeds = confirm_seeds(node["confirm"], sweep);
    if (node["baseline"]) sweep.baseline = scalar(node["baseline"]);
    if (node["parameters"]) sweep.parameters = parameters(node["parameters"], "");
    if (node["groups"]) sweep.groups = groups(node["groups"]);
    check_method(node, sweep);
    check_baseline(node, sweep);
    check_keys(node, sweep);
    const auto problem = size_problem(sweep);
    if (!problem.empty()) fail(sweep.method == "random" ? node["run_cap"] : node, problem);
    return sweep;
  }

 private:
  void check_method(const YAML::Node& node, const SweepConfig& sweep) {
    if (sweep.method == "random" && sweep.run_cap < 1) {
      fail(node, "method random needs run_cap, the number of configurations, at least 1");
    }
  }

  void check_baseline(const YAML::Node& node, SweepConfig& sweep) {
    if (sweep.baseline.empty()) {
      if (!sweep.groups.empty()) sweep.baseline = sweep.groups.front().name;
      return;
    }
    std::vector<std::string> names;
    for (const auto& group : sweep.groups) names.push_back(group.name);
    word(node["baseline"], names);
  }

  // A key that is set twice would make members that say one value and run with another.
  void check_keys(const YAML::Node& node, const SweepConfig& sweep) {
    const auto once = [&](std::set<std::string>& keys, const std::string& key, const YAML::Node& at,
                          const std::string& where) {
      if (!keys.insert(key).second) fail(at, fmt::format("{} is set twice{}", key, where));
    };
    std::set<std::string> shared;
    for (const auto& domain : sweep.parameters) {
      once(shared, domain.path, node["parameters"], "");
    }
    for (std::size_t i = 0; i < sweep.groups.size(); ++i) {
      const auto& group = sweep.groups[i];
      auto keys = shared;
      const auto where = fmt::format(" for the group '{}'", group.name);
      for (const auto& [key, value] : group.set) once(keys, key, node["groups"][i], where);
      for (const auto& domain : group.parameters) {
        once(keys, domain.path, node["groups"][i], where);
      }
    }
  }

  std::vector<std::int64_t> seeds(const YAML::Node& node) {
    if (!node.IsSequence() || node.size() == 0) {
      fail(node, "seeds is a list of whole numbers, for example [1, 2, 3]");
    }
    std::vector<std::int64_t> seeds;
    for (const auto& entry : node) {
      const auto seed = whole(entry);
      if (std::ranges::count(seeds, seed) > 0) {
        fail(entry, fmt::format("the seed {} stands in seeds twice", seed));
      }
      seeds.push_back(seed);
    }
    return seeds;
  }

  // Seeds that chose nothing.
  std::vector<std::int64_t> confirm_seeds(const YAML::Node& node, const SweepConfig& sweep) {
    if (!node.IsMap()) fail(node, "confirm has seeds, for example {seeds: [11, 12, 13]}");
    allow(node, {"seeds"});
    if (!node["seeds"]) fail(node, "confirm needs seeds, for example {seeds: [11, 12, 13]}");
    const auto list = seeds(node["seeds"]);
    for (const auto seed : list) {
      if (std::ranges::count(sweep.seeds, seed) == 0) continue;
      fail(node["seeds"], fmt::format("the seed {} is one of sweep.seeds, which choose the best "
                                      "configurations; only seeds that chose nothing confirm",
                                      seed));
    }
    return list;
  }

  std::vector<SweepGroup> groups(const YAML::Node& node) {
    if (!node.IsSequence()) fail(node, "groups is a list; each item has name, set and parameters");
    std::vector<SweepGroup> groups;
    for (const auto& item : node) {
      if (!item.IsMap()) fail(item, "a group has name, set and parameters");
      allow(item, {"name", "set", "parameters"});
      if (!item["name"]) fail(item, "a group needs a name");
      auto& group = groups.emplace_back();
      group.name = scalar(item["name"]);
      const auto problem = name_problem(group.name);
      if (!problem.empty()) fail(item["name"], problem);
      if (item["set"]) group.set = settings(item["set"]);
      if (item["parameters"]) group.parameters = parameters(item["parameters"], "");
    }
    return groups;
  }

  std::vector<std::pair<std::string, std::string>> settings(const YAML::Node& node) {
    if (!node.IsMap()) fail(node, "set maps keys to a value each");
    std::vector<std::pair<std::string, std::string>> settings;
    for (const auto& entry : node) {
      settings.emplace_back(run_key(scalar(entry.first), entry.first), setting(entry.second));
    }
    return settings;
  }

  // Keys are dotted, or nested as W&B nests them: a: {parameters: {b: ...}} is a.b.
  std::vector<ParameterDomain> parameters(const YAML::Node& node, const std::string& section) {
    if (!node.IsMap()) fail(node, "parameters maps keys to values, or to min and max");
    std::vector<ParameterDomain> domains;
    for (const auto& entry : node) {
      const auto path = join_path(section, scalar(entry.first));
      if (entry.second.IsMap() && entry.second.size() == 1 && entry.second["parameters"]) {
        for (auto& inner : parameters(entry.second["parameters"], path)) {
          domains.push_back(std::move(inner));
        }
        continue;
      }
      auto& domain = domains.emplace_back();
      domain.path = run_key(path, entry.first);
      read_domain(entry.second, domain);
    }
    return domains;
  }

  // A key of the run's YAML that a member may set.
  std::string run_key(const std::string& key, const YAML::Node& node) {
    if (key == "seed") fail(node, "the seeds of the runs are the list sweep.seeds");
    if (key == "name" || key == "output") fail(node, fmt::format("a member has its own {}", key));
    if (key == "sweep" || key.starts_with("sweep.")) fail(node, "a member has no sweep of its own");
    if (key.find('.') == std::string::npos) {
      fail(node, fmt::format("'{}' is no key of a run; a parameter is a key like "
                             "optimizer.learning_rate{}",
                             key, wandb_parameter_hint(key)));
    }
    return key;
  }

  void read_domain(const YAML::Node& node, ParameterDomain& domain) {
    if (!node.IsMap()) fail(node, "a parameter has value, values, or min and max");
    allow(node, {"value", "values", "min", "max", "distribution"}, wandb_domain_hint);
    if (node["value"]) domain.values = {setting(node["value"])};
    if (node["values"]) {
      if (!node["values"].IsSequence()) fail(node["values"], "values is a list");
      for (const auto& value : node["values"]) domain.values.push_back(setting(value));
    }
    if (!domain.values.empty()) return check_list_distribution(node);
    if (!node["min"] || !node["max"]) fail(node, "a parameter has value, values, or min and max");
    read_range(node, domain);
  }

  // What W&B calls a list of values, or one value.
  void check_list_distribution(const YAML::Node& node) {
    if (!node["distribution"]) return;
    const auto kind = node["values"] ? "categorical" : "constant";
    if (scalar(node["distribution"]) == kind) return;
    fail(node["distribution"],
         fmt::format("'{}' goes with min and max, there is {}", scalar(node["distribution"]),
                     node["values"] ? "values" : "value"));
  }

  void read_range(const YAML::Node& node, ParameterDomain& domain) {
    domain.min = number(node["min"]);
    domain.max = number(node["max"]);
    std::int64_t ignored = 0;
    const bool integers =
        parse_number(scalar(node["min"]), ignored) && parse_number(scalar(node["max"]), ignored);
    domain.distribution = integers ? "int_uniform" : "uniform";
    if (node["distribution"]) {
      domain.distribution =
          word(node["distribution"], {"uniform", "log_uniform_values", "int_uniform"},
               wandb_distribution_hint);
    }
    if (domain.distribution == "int_uniform") {
      domain.whole_min = whole_bound(node["min"]);
      domain.whole_max = whole_bound(node["max"]);
      if (domain.whole_min >= domain.whole_max) fail(node["min"], "min is not below max");
      return;
    }
    if (domain.min >= domain.max) fail(node["min"], "min is not below max");
    if (domain.distribution == "uniform" && !std::isfinite(domain.max - domain.min)) {
      fail(node["max"], "max - min is beyond the range of a double");
    }
    if (domain.distribution == "log_uniform_values") check_log_range(node, domain);
  }

  void check_log_range(const YAML::Node& node, const ParameterDomain& domain) {
    if (domain.min <= 0.0) fail(node["min"], "log_uniform_values needs a min above 0");
    if (!std::isfinite(domain.max / domain.min)) {
      fail(node["max"], "max / min is beyond the range of a double");
    }
  }

  // A whole number of 64 bits, also as 1e3 where a double holds it exactly.
  std::int64_t whole_bound(const YAML::Node& node) {
    constexpr double kExact = 9007199254740992.0;  // 2^53
    std::int64_t value = 0;
    if (parse_number(scalar(node), value)) return value;
    const auto real = number(node);
    if (real != std::floor(real) || std::abs(real) > kExact) {
      fail(node, fmt::format("int_uniform needs whole numbers from {} to {}, there is {}",
                             std::numeric_limits<std::int64_t>::min(),
                             std::numeric_limits<std::int64_t>::max(), scalar(node)));
    }
    return static_cast<std::int64_t>(real);
  }

  using Hint = std::string (*)(const std::string& word);
  static std::string no_hint(const std::string&) { return ""; }

  void allow(const YAML::Node& node, const std::vector<std::string>& keys, Hint hint = no_hint) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const auto key = scalar(entry.first);
      if (!seen.insert(key).second) fail(entry.first, fmt::format("'{}' stands here twice", key));
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        const auto known = hint(key);
        fail(entry.first, fmt::format("unknown key '{}'{}", key,
                                      known.empty() ? did_you_mean(key, keys) : known));
      }
    }
  }

  std::string scalar(const YAML::Node& node) {
    if (!node.IsScalar()) fail(node, "a single value is expected");
    return node.Scalar();
  }
  // What a member sets: a single value, or a list of them in one line.
  std::string setting(const YAML::Node& node) {
    if (!node.IsSequence()) return scalar(node);
    std::vector<std::string> parts;
    for (const auto& part : node) parts.push_back(scalar(part));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
  std::string word(const YAML::Node& node, const std::vector<std::string>& choices,
                   Hint hint = no_hint) {
    const auto text = scalar(node);
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      const auto known = hint(text);
      fail(node, fmt::format("'{}' is none of {}{}", text, fmt::join(choices, ", "),
                             known.empty() ? did_you_mean(text, choices) : known));
    }
    return text;
  }
  double number(const YAML::Node& node) {
    double value = 0.0;
    if (!parse_number(scalar(node), value) || !std::isfinite(value)) {
      fail(node, fmt::format("'{}' where a number is expected", scalar(node)));
    }
    return value;
  }
  std::int64_t whole(const YAML::Node& node,
                     std::int64_t max = std::numeric_limits<std::int64_t>::max()) {
    std::int64_t value = 0;
    if (!parse_number(scalar(node), value) || value < 0 || value > max) {
      fail(node,
           fmt::format("'{}' where a whole number from 0 to {} is expected", scalar(node), max));
    }
    return value;
  }
  [[noreturn]] void fail(const YAML::Node& node, const std::string& what) const {
    throw InputError(fmt::format("{}: sweep: {}", tree_.place(node.Mark(), "sweep"), what));
  }

  const YamlDocument::Tree& tree_;
};

}  // namespace

SweepConfig read_sweep_config(const YamlDocument::Tree& tree) { return SweepReader(tree).read(); }

}  // namespace blockwise
