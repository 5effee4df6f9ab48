#include "experiments/config/optimizer_section.hpp"

#include "experiments/config/config_reader.hpp"
#include "experiments/config/yaml_tree.hpp"

namespace blockwise {

OptimizerConfig read_optimizer_section(const std::string& place,
                                       const std::vector<Setting>& settings) {
  YamlDocument::Tree tree;
  tree.origins["optimizer"] = place;
  tree.root = YAML::Node(YAML::NodeType::Map);
  for (const auto& setting : settings) {
    set_key(tree, "optimizer." + setting.key, setting.value, setting.origin);
  }
  return read_optimizer_config(tree);
}

}  // namespace blockwise
