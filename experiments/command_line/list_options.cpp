#include "experiments/command_line/list_options.hpp"

#include <CLI/CLI.hpp>
#include <vector>

namespace blockwise {

void add_options(CLI::App& verb, ListOptions& options) {
  const std::vector<std::string> names(kListTopics.begin(), kListTopics.end());
  verb.add_option("topic", options.topic, "one of them; all when left out")
      ->check(CLI::IsMember(names));
}

}  // namespace blockwise
