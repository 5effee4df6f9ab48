#include "core/io/json_view.hpp"

namespace blockwise {
namespace {

// What stands there, for an error: a value of any length in a few words.
std::string shown(const JsonView::Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  constexpr std::size_t kLongest = 60;
  const auto text = value.dump(-1, ' ', false, JsonView::Json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

}  // namespace

void JsonView::fail(const std::string& what) const {
  throw JsonError(way_.empty() ? fmt::format("{}: the file {}", file_, what)
                               : fmt::format("{}: '{}' {}", file_, way_, what));
}

void JsonView::require_object() const {
  if (!value_->is_object()) fail(fmt::format("is {}, no object with keys", shown(*value_)));
}

bool JsonView::has(const std::string& key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonView JsonView::at(const std::string& key) const {
  require_object();
  const auto way = way_.empty() ? key : fmt::format("{}.{}", way_, key);
  if (!has(key)) throw JsonError(fmt::format("{}: '{}' is missing", file_, way));
  return {*value_->find(key), file_, way};
}

std::vector<JsonView> JsonView::items() const {
  if (!value_->is_array()) fail(fmt::format("is {}, no list", shown(*value_)));
  std::vector<JsonView> views;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    views.push_back(JsonView((*value_)[i], file_, fmt::format("{}[{}]", way_, i)));
  }
  return views;
}

std::vector<std::pair<std::string, JsonView>> JsonView::entries() const {
  require_object();
  std::vector<std::pair<std::string, JsonView>> views;
  for (const auto& [key, value] : value_->items()) {
    views.emplace_back(key, JsonView(value, file_, fmt::format("{}.{}", way_, key)));
  }
  return views;
}

std::string JsonView::text() const {
  if (!value_->is_string()) fail(fmt::format("is {}, no text", shown(*value_)));
  return value_->get<std::string>();
}

std::int64_t JsonView::whole(std::int64_t min, std::int64_t max) const {
  constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value_->is_number_integer()) fail(fmt::format("is {}, no whole number", shown(*value_)));
  const bool fits = !value_->is_number_unsigned() || value_->get<std::uint64_t>() <= kLargest;
  const auto number = fits ? value_->get<std::int64_t>() : 0;
  if (!fits || number < min || number > max) {
    fail(fmt::format("is {}, allowed are {} to {}", shown(*value_), min, max));
  }
  return number;
}

}  // namespace blockwise
