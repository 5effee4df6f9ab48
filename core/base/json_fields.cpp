#include "core/base/json_fields.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>

#include "core/base/field_bounds.hpp"

namespace blockwise {

std::string JsonFields::path(std::string_view name) const {
  auto path = names_;
  path.emplace_back(name);
  return fmt::format("{}", fmt::join(path, "."));
}

namespace {

// What nlohmann::json would convert, but not to the same number.
bool holds(const nlohmann::json& json, const double&) { return json.is_number(); }
bool holds(const nlohmann::json& json, const std::int64_t&) {
  if (!json.is_number_integer()) return false;
  return !json.is_number_unsigned() || json.get<std::uint64_t>() <= std::uint64_t{INT64_MAX};
}
bool holds(const nlohmann::json& json, const std::vector<std::int64_t>&) {
  return json.is_array() &&
         std::ranges::all_of(json, [](const auto& item) { return holds(item, std::int64_t{}); });
}
template <typename T>
bool holds(const nlohmann::json&, const T&) {
  return true;
}

}  // namespace

template <typename T>
bool JsonFields::take(const Field& field, T& value) {
  auto& section = sections_.back();
  const auto found = section.find(std::string(field.name));
  if (found == section.end()) return false;
  const auto refuse = [&] {
    throw InputError(fmt::format("{} is {}, which is of another type", path(field.name),
                                 found->dump(-1, ' ', true)));
  };
  if (!holds(*found, value)) refuse();
  try {
    value = found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    refuse();
  }
  section.erase(found);
  return true;
}

void JsonFields::real(const Field& field, double& value, const RealBounds& bounds) {
  if (take(field, value)) require_within(path(field.name), value, bounds);
}

void JsonFields::integer(const Field& field, std::int64_t& value, const IntegerBounds& bounds) {
  if (take(field, value)) require_within(path(field.name), value, bounds);
}

void JsonFields::boolean(const Field& field, bool& value) { take(field, value); }

void JsonFields::text(const Field& field, std::string& value) { take(field, value); }

void JsonFields::text_list(const Field& field, std::vector<std::string>& values) {
  take(field, values);
}

void JsonFields::choice(const Field& field, std::string& value,
                        const std::vector<std::string>& choices) {
  if (take(field, value)) require_one_of(path(field.name), value, choices);
}

void JsonFields::choice_list(const Field& field, std::vector<std::string>& values,
                             const std::vector<std::string>& choices) {
  if (!take(field, values)) return;
  for (const auto& value : values) require_one_of(path(field.name), value, choices);
}

void JsonFields::integer_list(const Field& field, std::vector<std::int64_t>& values,
                              const IntegerBounds& bounds) {
  if (!take(field, values)) return;
  for (const auto value : values) require_within(path(field.name), value, bounds);
}

void JsonFields::begin_section(const Field& field) {
  auto section = nlohmann::json::object();
  take(field, section);
  sections_.push_back(std::move(section));
  names_.emplace_back(field.name);
}

void JsonFields::end_section() {
  collect_unused();
  sections_.pop_back();
  names_.pop_back();
}

void JsonFields::check(std::string_view field, const std::string& why) {
  require_input(why.empty(), "{}: {}", path(field), why);
}

void JsonWriter::begin_section(const Field& field) {
  names_.emplace_back(field.name);
  sections_.push_back(Json::object());
}

void JsonWriter::end_section() {
  const auto section = std::move(sections_.back());
  sections_.pop_back();
  sections_.back()[names_.back()] = section;
  names_.pop_back();
}

void JsonFields::collect_unused() {
  for (const auto& [name, value] : sections_.back().items()) unused_.push_back(path(name));
  sections_.back() = nlohmann::json::object();
}

const std::vector<std::string>& JsonFields::unused() {
  collect_unused();
  return unused_;
}

}  // namespace blockwise
