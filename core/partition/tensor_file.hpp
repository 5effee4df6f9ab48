// What the YAML files that say something of every tensor of a model have in common: a format and a
// version, and a list `tensors` with each of them once, by name. Everything that is read from one
// goes through here: bounded numbers, known keys, errors with file and line.
#pragma once

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fields.hpp"
#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

// Bytes of the largest file that is opened; for a small model the bound is lower.
inline constexpr std::size_t kTensorFileLimit = std::size_t{1} << 30;

class TensorFileReader {
 public:
  // Throws InputError, as everything here, with file and line: where the file is not there, is no
  // YAML, is larger than the model explains, or is not of the format and a version in [1, newest].
  // `what` is what it is called: "partition file". Keeps a reference to the layout.
  TensorFileReader(const std::filesystem::path& path, std::string_view what,
                   std::string_view format, std::int64_t newest, const ParameterLayout& layout);

  const YAML::Node& root() const { return root_; }
  const std::filesystem::path& path() const { return path_; }
  const ParameterLayout& layout() const { return layout_; }
  std::int64_t version() const { return version_; }

  [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const;
  void require(const YAML::Node& node, bool holds, const std::string& why) const;

  // Throws where the node is no section, or has a key twice or one that is not among these.
  void require_keys(const YAML::Node& node, std::initializer_list<std::string_view> known) const;
  bool has(const YAML::Node& node, const char* key) const;
  // The value of a key; throws where it is missing.
  YAML::Node child(const YAML::Node& node, const char* key) const;
  YAML::Node list(const YAML::Node& node, const char* key) const;
  std::string text(const YAML::Node& node, const char* key) const;
  std::int64_t number(const YAML::Node& node, const char* key, const IntegerBounds& bounds) const;
  // count 0: any number of them.
  std::vector<std::int64_t> numbers(const YAML::Node& node, const char* key, std::size_t count,
                                    const IntegerBounds& bounds) const;
  // A section of texts, in its order; empty where there is none.
  std::vector<std::pair<std::string, std::string>> texts(const YAML::Node& node,
                                                         const char* key) const;
  // The word as a finite number. `key` is for the error alone.
  double real(const YAML::Node& node, const std::string& key, const std::string& word) const;

  // Calls take(node, place) for every entry of `tensors`. Throws where a tensor of the layout is
  // missing, there twice, or unknown.
  void for_each_tensor(const std::function<void(const YAML::Node&, std::size_t)>& take) const;
  std::vector<std::pair<std::string, std::string>> provenance() const;

 private:
  std::int64_t integer(const YAML::Node& node, const char* key, const IntegerBounds& bounds) const;

  std::filesystem::path path_;
  std::string what_;
  const ParameterLayout& layout_;
  YAML::Node root_;
  std::int64_t version_ = 0;
};

// The provenance section of such a file of any model; what stands before the list of tensors is all
// that is parsed. Empty where there is none.
std::vector<std::pair<std::string, std::string>> read_provenance_section(
    const std::filesystem::path& path);

// Text between single quotes; one word as it is, and all else between quotes; and a provenance
// section, as such files have them.
std::string quoted_yaml(std::string text);
std::string yaml_word(const std::string& text);
std::string provenance_text(const std::vector<std::pair<std::string, std::string>>& provenance);

}  // namespace blockwise
