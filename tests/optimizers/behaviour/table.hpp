// behaviour.json: at which rates every registered rule solves every problem, and what is known of
// those that it does not solve.
//   rates      [peak, ...]
//   rules      NAME -> options: of the rule in all trials; outcomes: PROBLEM -> a sign per rate,
//              + solved, ~ near, - failed
//   reasons    [{problem, rules, why}]: why rules solve a problem at no rate
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blockwise::testing {

class BehaviourTable {
 public:
  // Throws InputError for a file that is none.
  static BehaviourTable read(const std::filesystem::path& path);

  bool has(const std::string& rule) const;
  // A sign per rate, by trials. Those of a rule that the table has not yet: without options.
  std::string measured(const std::string& rule, const std::string& problem) const;
  // The signs of the table; empty where it has none.
  std::string expected(const std::string& rule, const std::string& problem) const;
  void set(const std::string& rule, const std::string& problem, const std::string& signs);

  // Rules in this order, and no others.
  void keep(const std::vector<std::string>& rules);

  // What is wrong with the reasons: of no rule, of no problem, of one that is solved.
  std::vector<std::string> stale_reasons() const;
  // Rows of rules, columns of problems, the number of rates that solve; then the reasons.
  std::string markdown() const;
  std::string json() const { return values_.dump(1) + "\n"; }

 private:
  nlohmann::ordered_json options_of(const std::string& rule) const;
  nlohmann::ordered_json values_;
};

// Between two rows of signs. near agrees with both others.
enum class Change { none, worse, better };
Change change(const std::string& expected, const std::string& measured);

}  // namespace blockwise::testing
