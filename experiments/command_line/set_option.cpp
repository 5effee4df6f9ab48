#include "experiments/command_line/set_option.hpp"

#include <fmt/format.h>

namespace blockwise {
namespace {

std::string problem_of_assignment(const std::string& word) {
  const auto equals = word.find('=');
  if (equals != std::string::npos && equals > 0) return "";
  const auto key = word.substr(0, word.find_first_of(": ="));
  return fmt::format("{}: the form is key=value, in one word: --set {}=VALUE", word,
                     key.empty() ? "KEY" : key);
}

}  // namespace

void add_set_option(CLI::App& verb, std::vector<std::string>& assignments) {
  verb.add_option("--set", assignments, "key=value over the file; may be repeated")
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::Validator([](const std::string& word) { return problem_of_assignment(word); },
                             "KEY=VALUE"));
}

}  // namespace blockwise
