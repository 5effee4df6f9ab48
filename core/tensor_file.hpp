// What the YAML files that say something of every tensor of a model have in common: a format and a
// version, and a list `tensors` with each of them once, by name.
#pragma once

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/parameter_layout.hpp"

namespace blockwise {

class TensorFileReader {
 public:
  // Throws InputError, as everything here, with file and line: where the file is not there, is no
  // YAML, or is not of the format and version. `what` is what it is called: "partition file".
  TensorFileReader(const std::filesystem::path& path, std::string_view what,
                   std::string_view format, std::int64_t version);

  const YAML::Node& root() const { return root_; }
  const std::filesystem::path& path() const { return path_; }

  [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const;
  void require(const YAML::Node& node, bool holds, const std::string& why) const;
  std::string text(const YAML::Node& node, const char* key) const;
  std::int64_t number(const YAML::Node& node, const char* key) const;
  // count 0: any number of them.
  std::vector<std::int64_t> numbers(const YAML::Node& node, const char* key,
                                    std::size_t count) const;

  // Calls take(node, place) for every entry of `tensors`. Throws where a tensor of the layout is
  // missing, there twice, or unknown.
  void for_each_tensor(const ParameterLayout& layout,
                       const std::function<void(const YAML::Node&, std::size_t)>& take) const;
  // The provenance, in its order.
  std::vector<std::pair<std::string, std::string>> provenance() const;

 private:
  std::int64_t integer(const YAML::Node& node) const;

  std::filesystem::path path_;
  std::string what_;
  YAML::Node root_;
};

// Text between single quotes, and a provenance section, as such files have them.
std::string quoted_yaml(std::string text);
std::string provenance_text(const std::vector<std::pair<std::string, std::string>>& provenance);

}  // namespace blockwise
