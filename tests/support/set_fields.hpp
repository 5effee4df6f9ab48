// Fills a configuration struct from JSON, through the same visit() that reads the YAML.
#pragma once

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/base/fields.hpp"
#include "core/dataset.hpp"
#include "core/model.hpp"

namespace blockwise::testing {

class SetFields : public FieldVisitor {
 public:
  explicit SetFields(nlohmann::json values) : stack_{std::move(values)} {}

  void real(const Field& f, double& value, const RealBounds&) override { take(f, value); }
  void integer(const Field& f, std::int64_t& value, const IntegerBounds&) override {
    take(f, value);
  }
  void boolean(const Field& f, bool& value) override { take(f, value); }
  void text(const Field& f, std::string& value) override { take(f, value); }
  void text_list(const Field& f, std::vector<std::string>& values) override { take(f, values); }
  void choice(const Field& f, std::string& value, const std::vector<std::string>&) override {
    take(f, value);
  }
  void choice_list(const Field& f, std::vector<std::string>& values,
                   const std::vector<std::string>&) override {
    take(f, values);
  }
  void integer_list(const Field& f, std::vector<std::int64_t>& values,
                    const IntegerBounds&) override {
    take(f, values);
  }
  void begin_section(const Field& f) override {
    auto section = nlohmann::json::object();
    take(f, section);
    stack_.push_back(std::move(section));
  }
  void end_section() override {
    require_used();
    stack_.pop_back();
  }
  void check(std::string_view field, const std::string& why) override {
    require_input(why.empty(), "{}: {}", field, why);
  }
  // A misspelt field in a test is an error of the test.
  void require_used() const {
    if (!stack_.back().empty()) throw std::logic_error("unused: " + stack_.back().dump());
  }

 private:
  template <typename T>
  void take(const Field& field, T& value) {
    const auto found = stack_.back().find(std::string(field.name));
    if (found == stack_.back().end()) return;
    value = found->template get<T>();
    stack_.back().erase(found);
  }

  std::vector<nlohmann::json> stack_;
};

template <typename Config>
void set_fields(Config& config, const nlohmann::json& values) {
  SetFields visitor(values);
  config.visit(visitor);
  visitor.require_used();
}

inline std::unique_ptr<ModelSpec> model_spec(const std::string& family,
                                             const nlohmann::json& values) {
  auto spec = model_families().make(family);
  set_fields(*spec, values);
  return spec;
}

inline std::unique_ptr<DatasetSpec> dataset_spec(const std::string& kind,
                                                 const nlohmann::json& values) {
  auto spec = dataset_kinds().make(kind);
  set_fields(*spec, values);
  return spec;
}

// The text of the InputError that `action` throws; "no error" where it throws none.
template <typename Action>
std::string input_error(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace blockwise::testing
