#include "experiments/sweep_config_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"
#include "experiments/spelling.hpp"

namespace blockwise {
namespace {

class SweepReader {
 public:
  explicit SweepReader(const YamlDocument::Tree& tree) : tree_(tree) {}

  SweepConfig read() {
    const YAML::Node node = std::as_const(tree_.root)["sweep"];
    if (!node.IsDefined() || !node.IsMap()) {
      throw InputError(
          fmt::format("{}: there is no section 'sweep'; `blockwise train` runs a file "
                      "without one",
                      tree_.name));
    }
    SweepConfig sweep;
    allow(node, {"method", "run_cap", "seeds", "baseline", "parameters", "groups"});
    if (node["method"]) sweep.method = word(node["method"], {"grid", "random"});
    if (node["run_cap"]) sweep.run_cap = whole(node["run_cap"]);
    read_seeds(node, sweep);
    if (node["baseline"]) sweep.baseline = scalar(node["baseline"]);
    if (node["parameters"]) sweep.parameters = parameters(node["parameters"]);
    if (node["groups"]) sweep.groups = groups(node["groups"]);
    check_method(node, sweep);
    check_baseline(node, sweep);
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

  void read_seeds(const YAML::Node& node, SweepConfig& sweep) {
    if (!node["seeds"]) {
      sweep.seeds = {1};
      return;
    }
    if (!node["seeds"].IsSequence() || node["seeds"].size() == 0) {
      fail(node["seeds"], "seeds is a list of whole numbers, for example [1, 2, 3]");
    }
    for (const auto& seed : node["seeds"]) sweep.seeds.push_back(whole(seed));
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
      if (item["set"]) {
        for (const auto& entry : item["set"]) {
          group.set.emplace_back(entry.first.Scalar(), setting(entry.second));
        }
      }
      if (item["parameters"]) group.parameters = parameters(item["parameters"]);
    }
    return groups;
  }

  std::vector<ParameterDomain> parameters(const YAML::Node& node) {
    if (!node.IsMap()) fail(node, "parameters maps keys to values, or to min and max");
    std::vector<ParameterDomain> domains;
    for (const auto& entry : node) {
      auto& domain = domains.emplace_back();
      domain.path = entry.first.Scalar();
      read_domain(entry.second, domain);
    }
    return domains;
  }

  void read_domain(const YAML::Node& node, ParameterDomain& domain) {
    if (!node.IsMap()) fail(node, "a parameter has value, values, or min and max");
    allow(node, {"value", "values", "min", "max", "distribution"});
    if (node["value"]) domain.values = {setting(node["value"])};
    if (node["values"]) {
      for (const auto& value : node["values"]) domain.values.push_back(setting(value));
    }
    if (!domain.values.empty()) return;
    if (!node["min"] || !node["max"]) fail(node, "a parameter has value, values, or min and max");
    domain.min = number(node["min"]);
    domain.max = number(node["max"]);
    if (domain.min >= domain.max) fail(node["min"], "min is not below max");
    std::int64_t whole_min = 0;
    const bool integers = parse_number(scalar(node["min"]), whole_min) &&
                          parse_number(scalar(node["max"]), whole_min);
    domain.distribution = integers ? "int_uniform" : "uniform";
    if (node["distribution"]) {
      domain.distribution =
          word(node["distribution"], {"uniform", "log_uniform_values", "int_uniform"});
    }
    if (domain.distribution == "log_uniform_values" && domain.min <= 0.0) {
      fail(node["min"], "log_uniform_values needs a min above 0");
    }
  }

  void allow(const YAML::Node& node, const std::vector<std::string>& keys) {
    for (const auto& entry : node) {
      const auto key = entry.first.Scalar();
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        fail(entry.first, fmt::format("unknown key '{}'{}", key, did_you_mean(key, keys)));
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
  std::string word(const YAML::Node& node, const std::vector<std::string>& choices) {
    const auto text = scalar(node);
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      fail(node, fmt::format("'{}' is none of {}{}", text, fmt::join(choices, ", "),
                             did_you_mean(text, choices)));
    }
    return text;
  }
  double number(const YAML::Node& node) {
    double value = 0.0;
    if (!parse_number(scalar(node), value)) fail(node, "a number is expected");
    return value;
  }
  std::int64_t whole(const YAML::Node& node) {
    std::int64_t value = 0;
    if (!parse_number(scalar(node), value) || value < 0) {
      fail(node, "a whole number, at least 0, is expected");
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
