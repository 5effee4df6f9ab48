#include "experiments/config/sweep_fields.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "core/text/printable_text.hpp"
#include "experiments/config/former_keys.hpp"
#include "experiments/config/sweep_config.hpp"
#include "experiments/config/wandb_words.hpp"
#include "experiments/config/yaml_tree.hpp"

namespace blockwise {
namespace {

constexpr IntegerBounds kSeeds = {0, std::numeric_limits<std::int64_t>::max()};
const std::vector<std::string> kDistributions = {"uniform", "log_uniform_values", "int_uniform",
                                                 "categorical", "constant"};

// Why a member cannot set this key of a run; "" where it can.
std::string key_problem(const std::string& key) {
  if (key == "seed") return "the seeds of the runs are the list sweep.seeds";
  if (key == "name" || key == "output") return fmt::format("a member has its own {}", key);
  if (key == "sweep" || key.starts_with("sweep.")) return "a member has no sweep of its own";
  if (key.find('.') != std::string::npos) return "";
  return fmt::format("'{}' is no key of a run; a parameter is a key like optimizer.learning_rate{}",
                     key, wandb_parameter_hint(key));
}

std::optional<double> finite_number(const std::string& text) {
  double value = 0.0;
  if (!parse_number(text, value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

// A whole number of 64 bits, also as 1e3 where a double holds it exactly.
std::optional<std::int64_t> whole_number(const std::string& text) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  std::int64_t value = 0;
  if (parse_number(text, value)) return value;
  const auto real = finite_number(text);
  if (!real || *real != std::floor(*real) || std::abs(*real) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(*real);
}

bool is_integer(const std::string& text) {
  std::int64_t ignored = 0;
  return parse_number(text, ignored);
}

// What one parameter's keys say, before anything of it is believed.
struct DomainText {
  std::string value, min, max, distribution;
  std::vector<std::string> values;

  bool is_list() const { return !value.empty() || !values.empty(); }
  bool is_range() const { return !min.empty() && !max.empty(); }
};

struct Problem {
  const char* field;
  std::string why;
};

// What W&B calls a list of values, or one value.
Problem read_list(const DomainText& text, ParameterDomain& domain) {
  domain.values = text.value.empty() ? text.values : std::vector<std::string>{text.value};
  if (!text.value.empty() && !text.values.empty()) return {"", "it has value and values"};
  if (!text.min.empty() || !text.max.empty()) return {"", "it has values and a range"};
  const auto kind = text.value.empty() ? "categorical" : "constant";
  if (text.distribution.empty() || text.distribution == kind) return {"", ""};
  return {"distribution", fmt::format("'{}' goes with min and max, there is {}", text.distribution,
                                      text.value.empty() ? "values" : "value")};
}

Problem read_whole_range(const DomainText& text, ParameterDomain& domain) {
  const auto problem = [](const char* field, const std::string& number) -> Problem {
    return {field, fmt::format("int_uniform needs whole numbers from {} to {}, there is {}",
                               std::numeric_limits<std::int64_t>::min(),
                               std::numeric_limits<std::int64_t>::max(), number)};
  };
  const auto low = whole_number(text.min), high = whole_number(text.max);
  if (!low) return problem("min", text.min);
  if (!high) return problem("max", text.max);
  domain.whole_min = *low;
  domain.whole_max = *high;
  return {"min", *low < *high ? "" : "min is not below max"};
}

Problem read_range(const DomainText& text, ParameterDomain& domain) {
  const auto low = finite_number(text.min), high = finite_number(text.max);
  if (!low) return {"min", fmt::format("'{}' where a number is expected", text.min)};
  if (!high) return {"max", fmt::format("'{}' where a number is expected", text.max)};
  domain.min = *low;
  domain.max = *high;
  const bool whole = is_integer(text.min) && is_integer(text.max);
  domain.distribution = whole ? "int_uniform" : "uniform";
  if (!text.distribution.empty()) domain.distribution = text.distribution;
  if (domain.distribution == "int_uniform") return read_whole_range(text, domain);
  if (*low >= *high) return {"min", "min is not below max"};
  if (domain.distribution == "uniform") {
    const bool spanned = std::isfinite(*high - *low);
    return {"max", spanned ? "" : "max - min is beyond the range of a double"};
  }
  if (domain.distribution != "log_uniform_values") {
    return {"distribution", fmt::format("'{}' goes with values", domain.distribution)};
  }
  if (*low <= 0.0) return {"min", "log_uniform_values needs a min above 0"};
  const bool spanned = std::isfinite(*high / *low);
  return {"max", spanned ? "" : "max / min is beyond the range of a double"};
}

Problem read_domain(const DomainText& text, ParameterDomain& domain) {
  if (text.is_list()) return read_list(text, domain);
  if (text.is_range()) return read_range(text, domain);
  return {"", "a parameter has value, values, or min and max"};
}

// A key that is set twice, also by a name of before, would make members that say one value and run
// with another.
std::string twice(const SweepConfig& sweep) {
  std::set<std::string> shared;
  for (const auto& domain : sweep.parameters) {
    if (!shared.insert(present_key(domain.path)).second) return domain.path + " is set twice";
  }
  for (const auto& group : sweep.groups) {
    auto keys = shared;
    std::vector<std::string> own;
    for (const auto& [key, value] : group.set) own.push_back(key);
    for (const auto& domain : group.parameters) own.push_back(domain.path);
    for (const auto& key : own) {
      if (keys.insert(present_key(key)).second) continue;
      return fmt::format("{} is set twice for the group '{}'", key, group.name);
    }
  }
  return "";
}

std::string repeated(const std::vector<std::int64_t>& seeds) {
  std::set<std::int64_t> seen;
  for (const auto seed : seeds) {
    if (!seen.insert(seed).second) return fmt::format("the seed {} stands in seeds twice", seed);
  }
  return "";
}

// Only seeds that chose nothing confirm.
std::string choosing_seed(const SweepConfig& sweep) {
  for (const auto seed : sweep.confirm_seeds) {
    if (std::ranges::count(sweep.seeds, seed) == 0) continue;
    return fmt::format(
        "the seed {} is one of sweep.seeds, which choose the best configurations; only seeds that "
        "chose nothing confirm",
        seed);
  }
  return "";
}

std::string unknown_baseline(const SweepConfig& sweep) {
  std::vector<std::string> names;
  for (const auto& group : sweep.groups) names.push_back(group.name);
  if (sweep.baseline.empty() || std::ranges::count(names, sweep.baseline) > 0) return "";
  return fmt::format("'{}' is none of {}", sweep.baseline, fmt::join(names, ", "));
}

void check(FieldVisitor& v, const SweepConfig& sweep) {
  const bool is_random = sweep.method == "random";
  v.check("seeds", sweep.seeds.empty() ? "one seed at least is needed, for example [1, 2, 3]" : "");
  v.check("seeds", repeated(sweep.seeds));
  v.check("confirm.seeds", repeated(sweep.confirm_seeds));
  v.check("confirm.seeds", choosing_seed(sweep));
  v.check("run_cap", is_random && sweep.run_cap < 1
                         ? "method random needs run_cap, the number of configurations, at least 1"
                         : "");
  v.check("run_cap", !is_random && sweep.run_cap > 0
                         ? "goes with method random; a grid has all combinations"
                         : "");
  v.check("baseline", unknown_baseline(sweep));
  v.check("", twice(sweep));
  v.check(is_random ? "run_cap" : "", size_problem(sweep));
}

}  // namespace

void ParameterDomain::visit(FieldVisitor& v) {
  DomainText text;
  v.value({"value", "one, for all members"}, text.value);
  v.value_list({"values", "one after the other"}, text.values);
  v.value({"min", "of a range that method random draws from"}, text.min);
  v.value({"max", "of that range"}, text.max);
  v.choice({"distribution",
            "of draws from the range: uniform by the value or by its logarithm; int_uniform, the "
            "default between whole numbers, draws those. W&B's categorical goes with values, "
            "constant with value",
            false, wandb_distribution_hint},
           text.distribution, kDistributions);
  v.check("", key_problem(path));
  const auto problem = read_domain(text, *this);
  v.check(problem.field, problem.why);
}

void SweepGroup::visit(FieldVisitor& v) {
  v.text({"name", "in tables, and of the members' folders", true}, name);
  v.value_map({"set", "keys of the run and the value that each has in this group"}, set);
  SectionsOf own(parameters, &ParameterDomain::path);
  v.section_map({"parameters", "of this group alone, as above", false, wandb_domain_hint}, own);
  v.check("name", name.empty() ? "" : name_problem(name));
  for (const auto& [key, value] : set) v.check("set", key_problem(key));
}

void SweepConfig::visit(FieldVisitor& v) {
  v.choice(
      {"method", "grid: every combination of the values; random: run_cap of them, or of the ranges",
       false, wandb_method_hint},
      method, {"grid", "random"});
  v.integer({"run_cap", "random: configurations per group, all different"}, run_cap,
            {0, kMaxMembers});
  v.integer({"seed", "random: of the draw; more configurations keep the first ones"}, seed, kSeeds);
  v.integer_list({"seeds", "every configuration runs once per seed; they choose the best ones"},
                 seeds, kSeeds);
  v.begin_section({"confirm", "the best configuration of each group runs again"});
  v.integer_list({"seeds", "on these, which chose nothing"}, confirm_seeds, kSeeds);
  v.end_section();
  v.text({"baseline", "group that the others are compared with; the first when left out"},
         baseline);
  SectionsOf shared(parameters, &ParameterDomain::path);
  v.section_map(
      {"parameters", "keys of the run, like optimizer.learning_rate, and which values each takes",
       false, wandb_domain_hint},
      shared);
  SectionsOf members(groups, &SweepGroup::name);
  v.section_list({"groups", "options that belong together, for example an optimizer's"}, members);
  v.begin_section({"slurm", "what the members' jobs ask Slurm for, with --launcher slurm"});
  slurm.visit(v);
  v.end_section();
  check(v, *this);
}

}  // namespace blockwise
