#include "tests/optimizers/behaviour/table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/io/json_file.hpp"
#include "optimizers/rule_spec.hpp"
#include "tests/optimizers/behaviour/trial.hpp"

namespace blockwise::testing {

BehaviourTable BehaviourTable::read(const std::filesystem::path& path) {
  BehaviourTable table;
  table.values_ = read_json_file(path);
  return table;
}

bool BehaviourTable::has(const std::string& rule) const {
  return values_.at("rules").contains(rule);
}

nlohmann::ordered_json BehaviourTable::options_of(const std::string& rule) const {
  auto options = nlohmann::ordered_json::object();
  if (has(rule)) options = values_.at("rules").at(rule).at("options");
  options["rule"] = rule;
  return options;
}

std::string BehaviourTable::measured(const std::string& rule, const std::string& problem) const {
  const auto found = std::ranges::find(problems(), problem, &Problem::name);
  std::string signs;
  for (const double rate : values_.at("rates")) {
    switch (outcome_of(held_distance(*found, options_of(rule), rate))) {
      case Outcome::solved:
        signs += '+';
        break;
      case Outcome::near:
        signs += '~';
        break;
      case Outcome::failed:
        signs += '-';
        break;
    }
  }
  return signs;
}

std::string BehaviourTable::expected(const std::string& rule, const std::string& problem) const {
  return has(rule) ? values_.at("rules").at(rule).at("outcomes").value(problem, "") : "";
}

void BehaviourTable::set(const std::string& rule, const std::string& problem,
                         const std::string& signs) {
  auto& entry = values_["rules"][rule];
  if (!entry.contains("options")) entry["options"] = nlohmann::ordered_json::object();
  entry["outcomes"][problem] = signs;
}

void BehaviourTable::keep(const std::vector<std::string>& rules) {
  auto kept = nlohmann::ordered_json::object();
  for (const auto& rule : rules) kept[rule] = values_.at("rules").at(rule);
  values_["rules"] = kept;
}

std::vector<std::string> BehaviourTable::stale_reasons() const {
  std::vector<std::string> stale;
  for (const auto& reason : values_.at("reasons")) {
    const std::string problem = reason.at("problem");
    for (const std::string rule : reason.at("rules")) {
      const auto signs = expected(rule, problem);
      if (signs.empty() || signs.find('+') != std::string::npos) {
        stale.push_back(fmt::format("{} on {}: {}", rule, problem, signs));
      }
    }
  }
  return stale;
}

std::string BehaviourTable::markdown() const {
  std::string text = "| rule |", line = "|---|";
  for (const auto& problem : problems()) {
    text += " " + problem.name + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const auto& [rule, entry] : values_.at("rules").items()) {
    text += "| `" + rule + "` |";
    for (const auto& problem : problems()) {
      const auto signs = expected(rule, problem.name);
      const auto count = std::ranges::count(signs, '+');
      text += count == 0 ? " – |" : fmt::format(" {} |", count);
    }
    text += "\n";
  }
  text += "\n| not solved | by | because |\n|---|---|---|\n";
  for (const auto& reason : values_.at("reasons")) {
    text += fmt::format("| {} | `{}` | {} |\n", std::string(reason.at("problem")),
                        fmt::join(reason.at("rules").get<std::vector<std::string>>(), "`, `"),
                        std::string(reason.at("why")));
  }
  return text;
}

Change change(const std::string& expected, const std::string& measured) {
  if (expected.size() != measured.size()) return Change::worse;
  auto found = Change::none;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == '+' && measured[i] == '-') return Change::worse;
    if (expected[i] == '-' && measured[i] == '+') found = Change::better;
  }
  return found;
}

}  // namespace blockwise::testing
