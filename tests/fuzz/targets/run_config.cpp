// A run's YAML with its section `sweep`: read, expanded, written and read again.
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  const auto document = YamlDocument::parse(std::string(fuzz::text_of(bytes)), "run.yaml");
  if (document.has_sweep()) expand(document.sweep_config());
  const auto yaml = to_yaml(document.run_config());
  const auto again = YamlDocument::parse(yaml, "resolved.yaml").run_config();
  check_equal(to_yaml(again), yaml, "the resolved configuration");
}
