#include "core/partition/tensor_file.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <set>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/text/yaml_text.hpp"

namespace blockwise {
namespace {

std::int64_t all_rows(const ParameterLayout& layout) {
  std::int64_t rows = 0;
  for (const auto& parameter : layout.parameters()) rows += parameter.rows();
  return rows;
}

// At most a section per row, and three numbers of some twenty digits per element.
std::size_t byte_limit(const ParameterLayout& layout) {
  constexpr std::size_t kHead = std::size_t{1} << 20, kPerRow = 4096, kPerElement = 96;
  const auto elements = std::min(static_cast<std::size_t>(layout.size()), kTensorFileLimit);
  const auto rows = std::min(static_cast<std::size_t>(all_rows(layout)), kTensorFileLimit);
  return std::min(kTensorFileLimit, kHead + kPerRow * rows + kPerElement * elements);
}

YamlLimits yaml_limits(const ParameterLayout& layout) {
  constexpr std::int64_t kHead = 10'000, kPerRow = 100, kMost = 2'000'000;
  return {std::min(kMost, kHead + kPerRow * std::min(kMost, all_rows(layout))), 16};
}

}  // namespace

TensorFileReader::TensorFileReader(const std::filesystem::path& path, std::string_view what,
                                   std::string_view format, std::int64_t newest,
                                   const ParameterLayout& layout)
    : path_(path), what_(what), layout_(layout) {
  const auto file = read_text_file(path, byte_limit(layout));
  root_.reset(parse_yaml(file, file_place(path.string()), yaml_limits(layout)));
  const bool ours = root_.IsMap() && has(root_, "format") && text(root_, "format") == format;
  require(root_, ours, fmt::format("not a {}", what));
  version_ = number(root_, "version", {});
  require(root_, version_ >= 1 && version_ <= newest,
          fmt::format("version {}, this program reads {}", version_,
                      newest == 1 ? "1" : fmt::format("1 to {}", newest)));
}

void TensorFileReader::fail(const YAML::Node& node, const std::string& why) const {
  const int line = std::max(1, node.Mark().line + 1);  // an empty file has no line
  throw InputError(fmt::format("{}:{}: {}", path_.string(), line, why));
}

void TensorFileReader::require(const YAML::Node& node, bool holds, const std::string& why) const {
  if (!holds) fail(node, why);
}

void TensorFileReader::require_keys(const YAML::Node& node,
                                    std::initializer_list<std::string_view> known) const {
  require(node, node.IsMap(), "keys and values are expected");
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const auto key = entry.first.IsScalar() ? entry.first.Scalar() : std::string();
    require(entry.first, std::ranges::count(known, key) > 0, fmt::format("unknown key '{}'", key));
    require(entry.first, seen.insert(key).second, fmt::format("the key '{}' is there twice", key));
  }
}

bool TensorFileReader::has(const YAML::Node& node, const char* key) const {
  return node.IsMap() && node[key].IsDefined();
}

YAML::Node TensorFileReader::child(const YAML::Node& node, const char* key) const {
  require(node, has(node, key), fmt::format("'{}' is missing", key));
  return node[key];
}

YAML::Node TensorFileReader::list(const YAML::Node& node, const char* key) const {
  const auto value = child(node, key);
  require(node, value.IsSequence(), fmt::format("'{}' is to be a list", key));
  return value;
}

std::string TensorFileReader::text(const YAML::Node& node, const char* key) const {
  const auto value = child(node, key);
  require(node, value.IsScalar(), fmt::format("'{}' is to be a single value", key));
  return value.Scalar();
}

std::int64_t TensorFileReader::integer(const YAML::Node& node, const char* key,
                                       const IntegerBounds& bounds) const {
  std::int64_t value = 0;
  const auto scalar = node.IsScalar() ? node.Scalar() : "";
  const auto [end, error] = std::from_chars(scalar.data(), scalar.data() + scalar.size(), value);
  require(node, error == std::errc() && end == scalar.data() + scalar.size(),
          fmt::format("{}: '{}' is not a whole number", key, scalar));
  require(node, value >= bounds.min && value <= bounds.max,
          fmt::format("{}: {} is out of bounds, {} to {} are allowed", key, value, bounds.min,
                      bounds.max));
  return value;
}

std::int64_t TensorFileReader::number(const YAML::Node& node, const char* key,
                                      const IntegerBounds& bounds) const {
  return integer(child(node, key), key, bounds);
}

std::vector<std::int64_t> TensorFileReader::numbers(const YAML::Node& node, const char* key,
                                                    std::size_t count,
                                                    const IntegerBounds& bounds) const {
  const auto values = list(node, key);
  require(values, count == 0 || values.size() == count,
          fmt::format("'{}' is to be a list of {} numbers", key, count));
  std::vector<std::int64_t> result;
  for (const auto& item : values) result.push_back(integer(item, key, bounds));
  return result;
}

std::vector<std::pair<std::string, std::string>> TensorFileReader::texts(const YAML::Node& node,
                                                                         const char* key) const {
  std::vector<std::pair<std::string, std::string>> entries;
  if (!has(node, key) || node[key].IsNull()) return entries;
  require(node, node[key].IsMap(), fmt::format("'{}' is to have keys and values", key));
  for (const auto& entry : node[key]) {
    require(entry.first, entry.first.IsScalar() && entry.second.IsScalar(),
            fmt::format("'{}' is to have single values", key));
    entries.emplace_back(entry.first.Scalar(), entry.second.Scalar());
  }
  return entries;
}

double TensorFileReader::real(const YAML::Node& node, const std::string& key,
                              const std::string& word) const {
  double value = 0.0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  require(node, error == std::errc() && end == word.data() + word.size() && std::isfinite(value),
          fmt::format("{}: '{}' is not a number", key, word));
  return value;
}

void TensorFileReader::for_each_tensor(
    const std::function<void(const YAML::Node&, std::size_t)>& take) const {
  const auto all = list(root_, "tensors");
  const auto& parameters = layout_.parameters();
  std::vector<bool> seen(parameters.size(), false);
  for (const auto& node : all) {
    const auto name = text(node, "name");
    const auto found = std::ranges::find(parameters, name, &Parameter::name);
    require(node, found != parameters.end(),
            fmt::format("the model has no tensor '{}': a {} of another model", name, what_));
    const auto place = static_cast<std::size_t>(found - parameters.begin());
    require(node, !seen[place], fmt::format("tensor '{}' is there twice", name));
    seen[place] = true;
    take(node, place);
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    require(all, seen[i], fmt::format("tensor '{}' of the model is missing", parameters[i].name));
  }
}

std::vector<std::pair<std::string, std::string>> TensorFileReader::provenance() const {
  return texts(root_, "provenance");
}

std::vector<std::pair<std::string, std::string>> read_provenance_section(
    const std::filesystem::path& path) {
  const auto file = read_text_file(path, kTensorFileLimit);
  const auto root = parse_yaml(file.substr(0, file.find("\ntensors:")), file_place(path.string()));
  std::vector<std::pair<std::string, std::string>> entries;
  if (!root.IsMap() || !root["provenance"].IsMap()) return entries;
  for (const auto& entry : root["provenance"]) {
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) continue;
    entries.emplace_back(entry.first.Scalar(), entry.second.Scalar());
  }
  return entries;
}

std::string quoted_yaml(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\'') text.insert(i++, 1, '\'');
  }
  return "'" + text + "'";
}

std::string yaml_word(const std::string& text) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  // A word that YAML reads as something else begins otherwise, or is one of few.
  const bool is_word = !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) &&
                       std::ranges::all_of(text, plain);
  const bool is_nothing = text == "null" || text == "Null" || text == "NULL";
  return is_word && !is_nothing ? text : quoted_yaml(text);
}

std::string provenance_text(const std::vector<std::pair<std::string, std::string>>& provenance) {
  std::string out = "provenance:\n";
  for (const auto& [key, value] : provenance) {
    out += fmt::format("  {}: {}\n", yaml_word(key), quoted_yaml(value));
  }
  return out;
}

}  // namespace blockwise
