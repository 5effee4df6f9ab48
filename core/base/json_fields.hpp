// Options from JSON, through the visit() that reads the YAML: for programs that have no YAML.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/fields.hpp"

namespace blockwise {

// Sets the fields that `values` has, sections as objects. Throws InputError by the field's name for
// a value of another type or out of its bounds; unused() is what no field took.
class JsonFields : public FieldVisitor {
 public:
  explicit JsonFields(nlohmann::json values) : sections_{std::move(values)} {}

  void real(const Field& field, double& value, const RealBounds& bounds) override;
  void integer(const Field& field, std::int64_t& value, const IntegerBounds& bounds) override;
  void boolean(const Field& field, bool& value) override;
  void text(const Field& field, std::string& value) override;
  void text_list(const Field& field, std::vector<std::string>& values) override;
  void choice(const Field& field, std::string& value,
              const std::vector<std::string>& choices) override;
  void choice_list(const Field& field, std::vector<std::string>& values,
                   const std::vector<std::string>& choices) override;
  void integer_list(const Field& field, std::vector<std::int64_t>& values,
                    const IntegerBounds& bounds) override;
  void begin_section(const Field& field) override;
  void end_section() override;
  void check(std::string_view field, const std::string& why) override;

  const std::vector<std::string>& unused();

 private:
  std::string path(std::string_view name) const;
  template <typename T>
  bool take(const Field& field, T& value);
  void collect_unused();

  std::vector<nlohmann::json> sections_;
  std::vector<std::string> names_;  // of open sections
  std::vector<std::string> unused_;
};

// The other way: every field with its value, sections as objects.
class JsonWriter : public FieldVisitor {
 public:
  using Json = nlohmann::ordered_json;

  void real(const Field& field, double& value, const RealBounds&) override { put(field, value); }
  void integer(const Field& field, std::int64_t& value, const IntegerBounds&) override {
    put(field, value);
  }
  void boolean(const Field& field, bool& value) override { put(field, value); }
  void text(const Field& field, std::string& value) override { put(field, value); }
  void text_list(const Field& field, std::vector<std::string>& values) override {
    put(field, values);
  }
  void choice(const Field& field, std::string& value, const std::vector<std::string>&) override {
    put(field, value);
  }
  void choice_list(const Field& field, std::vector<std::string>& values,
                   const std::vector<std::string>&) override {
    put(field, values);
  }
  void integer_list(const Field& field, std::vector<std::int64_t>& values,
                    const IntegerBounds&) override {
    put(field, values);
  }
  void begin_section(const Field& field) override;
  void end_section() override;
  void check(std::string_view, const std::string&) override {}

  const Json& json() const { return sections_.front(); }

 private:
  template <typename T>
  void put(const Field& field, const T& value) {
    sections_.back()[std::string(field.name)] = value;
  }

  std::vector<Json> sections_{Json::object()};
  std::vector<std::string> names_;
};

template <typename Options>
nlohmann::ordered_json json_of(Options& options) {
  JsonWriter writer;
  options.visit(writer);
  return writer.json();
}

// All of them; an option that there is none of is an InputError.
template <typename Options>
void set_from_json(Options& options, const nlohmann::json& values) {
  JsonFields fields(values);
  options.visit(fields);
  require_input(fields.unused().empty(), "there is no option '{}'",
                fields.unused().empty() ? "" : fields.unused().front());
}

}  // namespace blockwise
