#include "core/pretrained/json_config.hpp"

#include <limits>

#include "core/base/error.hpp"
#include "core/io/json_file.hpp"

namespace blockwise {
namespace {

using Json = nlohmann::ordered_json;

// A value as an error shows it: its start.
std::string shown(const Json& value) {
  constexpr std::size_t kMost = 60;
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  auto text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

}  // namespace

JsonConfig::JsonConfig(std::string file, Json object)
    : JsonConfig(std::move(file), std::move(object), "",
                 std::make_shared<std::set<std::string>>()) {}

JsonConfig::JsonConfig(std::string file, Json object, std::string prefix,
                       std::shared_ptr<std::set<std::string>> asked)
    : file_(std::move(file)),
      object_(std::move(object)),
      prefix_(std::move(prefix)),
      asked_(std::move(asked)) {
  require_input(
      object_.is_object(), "{}: {} is no JSON object", file_,
      prefix_.empty() ? "the file" : fmt::format("'{}'", prefix_.substr(0, prefix_.size() - 1)));
}

JsonConfig JsonConfig::load(const std::filesystem::path& path) {
  return {path.string(), read_json_file(path)};
}

JsonConfig JsonConfig::with(const std::string& key, Json value) const {
  auto object = object_;
  object[key] = std::move(value);
  return {file_, std::move(object)};
}

void JsonConfig::fail(const std::string& key, const std::string& what) const {
  throw InputError(fmt::format("{}: '{}{}' {}", file_, prefix_, key, what));
}

bool JsonConfig::contains(const std::string& key) const {
  asked_->insert(prefix_ + key);
  return object_.contains(key);
}

bool JsonConfig::has(const std::string& key) const {
  return contains(key) && !object_.at(key).is_null();
}

bool JsonConfig::filled(const std::string& key) const {
  if (!has(key)) return false;
  const auto& value = object_.at(key);
  return !value.is_structured() || !value.empty();
}

const Json& JsonConfig::at(const std::string& key) const {
  if (!contains(key)) fail(key, "is missing");
  return object_.at(key);
}

std::int64_t JsonConfig::whole(const std::string& key, const Json& value) const {
  if (!value.is_number_integer()) fail(key, fmt::format("is {}, no whole number", shown(value)));
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > kMost) {
    fail(key, fmt::format("is {}, at most {} is allowed", value.get<std::uint64_t>(), kMost));
  }
  return value.get<std::int64_t>();
}

std::int64_t JsonConfig::integer(const std::string& key) const { return whole(key, at(key)); }

std::int64_t JsonConfig::integer(const std::string& key, std::int64_t otherwise) const {
  return contains(key) ? integer(key) : otherwise;
}

std::int64_t JsonConfig::positive(const std::string& key) const {
  const auto value = integer(key);
  if (value < 1) fail(key, fmt::format("is {}, at least 1 is needed", value));
  return value;
}

std::int64_t JsonConfig::positive(const std::string& key, std::int64_t otherwise) const {
  return contains(key) ? positive(key) : otherwise;
}

double JsonConfig::real(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_number()) fail(key, fmt::format("is {}, no number", shown(value)));
  return value.get<double>();
}

double JsonConfig::real(const std::string& key, double otherwise) const {
  return contains(key) ? real(key) : otherwise;
}

bool JsonConfig::boolean(const std::string& key, bool otherwise) const {
  if (!contains(key)) return otherwise;
  const auto& value = at(key);
  if (!value.is_boolean()) fail(key, fmt::format("is {}, neither true nor false", shown(value)));
  return value.get<bool>();
}

std::string JsonConfig::text(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_string()) fail(key, fmt::format("is {}, no text", shown(value)));
  return value.get<std::string>();
}

std::string JsonConfig::text(const std::string& key, const std::string& otherwise) const {
  return contains(key) ? text(key) : otherwise;
}

std::vector<std::string> JsonConfig::texts(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_array()) fail(key, fmt::format("is {}, no list", shown(value)));
  std::vector<std::string> result;
  for (const auto& entry : value) {
    if (!entry.is_string()) fail(key, fmt::format("has {}, no text", shown(entry)));
    result.push_back(entry.get<std::string>());
  }
  return result;
}

std::vector<std::int64_t> JsonConfig::token_ids(const std::string& key) const {
  if (!has(key)) return {};
  const auto& value = at(key);
  const auto entries = value.is_array() ? value : Json::array({value});
  std::vector<std::int64_t> ids;
  for (const auto& entry : entries) {
    const auto id = whole(key, entry);
    if (id >= 0) ids.push_back(id);
  }
  return ids;
}

JsonConfig JsonConfig::section(const std::string& key) const {
  return {file_, at(key), prefix_ + key + ".", asked_};
}

void JsonConfig::require_flag(const std::string& key, bool otherwise, bool supported) const {
  const auto value = boolean(key, otherwise);
  if (value != supported) fail(key, fmt::format("is {}, supported: {}", value, supported));
}

void JsonConfig::require_nothing(const std::string& key, const std::string& why) const {
  if (filled(key)) fail(key, why);
}

std::vector<std::string> JsonConfig::unread() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items()) {
    const auto name = prefix_ + key;
    const auto inside = asked_->lower_bound(name + ".");
    const bool is_section = inside != asked_->end() && inside->starts_with(name + ".");
    if (asked_->count(name) == 0) {
      keys.push_back(name);
    } else if (is_section && value.is_object()) {
      const auto inner = JsonConfig(file_, value, name + ".", asked_).unread();
      keys.insert(keys.end(), inner.begin(), inner.end());
    }
  }
  return keys;
}

}  // namespace blockwise
