// Reading a parsed JSON file with checks: a look-up that fails says which file, which key and what
// stands there instead.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace blockwise {

// What a look-up throws; an InputError "FILE: 'WAY' ...".
class JsonError : public InputError {
 public:
  using InputError::InputError;
};

// A value inside a document, which outlives the view, and the way to it: "members[3].seed". Every
// error is a JsonError.
class JsonView {
 public:
  using Json = nlohmann::ordered_json;

  JsonView(const Json& document, const std::filesystem::path& file)
      : JsonView(document, file.string(), "") {}

  // An object's key that is there and not null.
  bool has(const std::string& key) const;
  JsonView at(const std::string& key) const;                      // throws where has() is false
  std::vector<JsonView> items() const;                            // of a list
  std::vector<std::pair<std::string, JsonView>> entries() const;  // of an object
  std::string text() const;
  // A whole number from `min` to `max`.
  std::int64_t whole(std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                     std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  const Json& value() const { return *value_; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  JsonView(const Json& value, std::string file, std::string way)
      : value_(&value), file_(std::move(file)), way_(std::move(way)) {}
  void require_object() const;

  const Json* value_;
  std::string file_;
  std::string way_;
};

}  // namespace blockwise
