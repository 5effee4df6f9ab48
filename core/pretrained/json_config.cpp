#include "core/pretrained/json_config.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/io/json_file.hpp"

namespace blockwise {

JsonConfig::JsonConfig(std::string file, nlohmann::ordered_json object, std::string prefix)
    : file_(std::move(file)), object_(std::move(object)), prefix_(std::move(prefix)) {
  require_input(object_.is_object(), "{}: {} is no JSON object", file_,
                prefix_.empty() ? "the file" : prefix_);
}

JsonConfig JsonConfig::load(const std::filesystem::path& path) {
  return {path.string(), read_json_file(path)};
}

void JsonConfig::fail(const std::string& key, const std::string& what) const {
  throw InputError(fmt::format("{}: '{}{}' {}", file_, prefix_, key, what));
}

bool JsonConfig::has(const std::string& key) const {
  return object_.contains(key) && !object_[key].is_null();
}

const nlohmann::ordered_json& JsonConfig::at(const std::string& key) const {
  if (!has(key)) fail(key, "is missing");
  return object_[key];
}

std::int64_t JsonConfig::integer(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_number_integer()) fail(key, fmt::format("is {}, no whole number", value.dump()));
  return value.get<std::int64_t>();
}

std::int64_t JsonConfig::integer(const std::string& key, std::int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}

double JsonConfig::real(const std::string& key, double otherwise) const {
  if (!has(key)) return otherwise;
  const auto& value = at(key);
  if (!value.is_number()) fail(key, fmt::format("is {}, no number", value.dump()));
  return value.get<double>();
}

bool JsonConfig::boolean(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const auto& value = at(key);
  if (!value.is_boolean()) fail(key, fmt::format("is {}, neither true nor false", value.dump()));
  return value.get<bool>();
}

std::string JsonConfig::text(const std::string& key) const {
  const auto& value = at(key);
  if (!value.is_string()) fail(key, fmt::format("is {}, no text", value.dump()));
  return value.get<std::string>();
}

std::string JsonConfig::text(const std::string& key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

JsonConfig JsonConfig::section(const std::string& key) const {
  return {file_, at(key), prefix_ + key + "."};
}

void JsonConfig::require_text(const std::string& key, const std::string& otherwise,
                              const std::vector<std::string>& supported) const {
  const auto value = text(key, otherwise);
  if (std::find(supported.begin(), supported.end(), value) != supported.end()) return;
  fail(key, fmt::format("is '{}', supported: {}", value, fmt::join(supported, ", ")));
}

void JsonConfig::require_flag(const std::string& key, bool otherwise, bool supported) const {
  const auto value = boolean(key, otherwise);
  if (value != supported) fail(key, fmt::format("is {}, supported: {}", value, supported));
}

}  // namespace blockwise
