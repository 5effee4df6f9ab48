#include "core/tensor_file.hpp"

#include <algorithm>
#include <charconv>

#include "core/error.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {

TensorFileReader::TensorFileReader(const std::filesystem::path& path, std::string_view what,
                                   std::string_view format, std::int64_t version)
    : path_(path), what_(what) {
  const auto text = read_text_file(path);
  try {
    root_.reset(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}:{}: {}", path.string(), error.mark.line + 1, error.msg));
  }
  const bool ours = root_.IsMap() && root_["format"] && root_["format"].Scalar() == format;
  require(root_, ours, fmt::format("not a {}", what));
  require(root_, number(root_, "version") == version,
          fmt::format("version {}, this program reads {}", number(root_, "version"), version));
}

void TensorFileReader::fail(const YAML::Node& node, const std::string& why) const {
  throw InputError(fmt::format("{}:{}: {}", path_.string(), node.Mark().line + 1, why));
}

void TensorFileReader::require(const YAML::Node& node, bool holds, const std::string& why) const {
  if (!holds) fail(node, why);
}

std::string TensorFileReader::text(const YAML::Node& node, const char* key) const {
  const auto value = node[key];
  require(node, value && value.IsScalar(), fmt::format("'{}' is missing", key));
  return value.Scalar();
}

std::int64_t TensorFileReader::integer(const YAML::Node& node) const {
  std::int64_t value = 0;
  const auto scalar = node.IsScalar() ? node.Scalar() : "";
  const auto [end, error] = std::from_chars(scalar.data(), scalar.data() + scalar.size(), value);
  require(node, error == std::errc() && end == scalar.data() + scalar.size(),
          fmt::format("'{}' is not a whole number", scalar));
  return value;
}

std::int64_t TensorFileReader::number(const YAML::Node& node, const char* key) const {
  require(node, node[key].IsDefined(), fmt::format("'{}' is missing", key));
  return integer(node[key]);
}

std::vector<std::int64_t> TensorFileReader::numbers(const YAML::Node& node, const char* key,
                                                    std::size_t count) const {
  const auto list = node[key];
  require(node, list && list.IsSequence() && (count == 0 || list.size() == count),
          fmt::format("'{}' is to be a list{}", key,
                      count == 0 ? "" : fmt::format(" of {} numbers", count)));
  std::vector<std::int64_t> values;
  for (const auto& item : list) values.push_back(integer(item));
  return values;
}

void TensorFileReader::for_each_tensor(
    const ParameterLayout& layout,
    const std::function<void(const YAML::Node&, std::size_t)>& take) const {
  const auto list = root_["tensors"];
  require(root_, list && list.IsSequence(), "'tensors' is missing");
  const auto& blocks = layout.blocks();
  std::vector<bool> seen(blocks.size(), false);
  for (const auto& node : list) {
    const auto name = text(node, "name");
    const auto found = std::ranges::find(blocks, name, &ParameterBlock::name);
    require(node, found != blocks.end(),
            fmt::format("the model has no tensor '{}': a {} of another model", name, what_));
    const auto place = static_cast<std::size_t>(found - blocks.begin());
    require(node, !seen[place], fmt::format("tensor '{}' is there twice", name));
    seen[place] = true;
    take(node, place);
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    require(list, seen[i], fmt::format("tensor '{}' of the model is missing", blocks[i].name));
  }
}

std::vector<std::pair<std::string, std::string>> TensorFileReader::provenance() const {
  std::vector<std::pair<std::string, std::string>> entries;
  for (const auto& entry : root_["provenance"]) {
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

std::string provenance_text(const std::vector<std::pair<std::string, std::string>>& provenance) {
  std::string out = "provenance:\n";
  for (const auto& [key, value] : provenance) {
    out += fmt::format("  {}: {}\n", key, quoted_yaml(value));
  }
  return out;
}

}  // namespace blockwise
