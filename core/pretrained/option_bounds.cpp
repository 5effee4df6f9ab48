#include "core/pretrained/option_bounds.hpp"

#include <vector>

#include "core/base/error.hpp"
#include "core/base/field_bounds.hpp"

namespace blockwise {
namespace {

class BoundsCheck : public FieldVisitor {
 public:
  BoundsCheck(const std::string& place, const OptionNames& names) : place_(place), names_(names) {}

  void real(const Field& field, double& value, const RealBounds& bounds) override {
    require_within(name(field.name), value, bounds);
  }
  void integer(const Field& field, std::int64_t& value, const IntegerBounds& bounds) override {
    require_within(name(field.name), value, bounds);
  }
  void choice(const Field& field, std::string& value,
              const std::vector<std::string>& choices) override {
    require_one_of(name(field.name), value, choices);
  }
  void integer_list(const Field& field, std::vector<std::int64_t>& values,
                    const IntegerBounds& bounds) override {
    for (auto& value : values) integer(field, value, bounds);
  }
  void boolean(const Field&, bool&) override {}
  void text(const Field&, std::string&) override {}
  void text_list(const Field&, std::vector<std::string>&) override {}
  void choice_list(const Field&, std::vector<std::string>&,
                   const std::vector<std::string>&) override {}
  void begin_section(const Field& field) override { prefix_ += std::string(field.name) + '.'; }
  void end_section() override {
    prefix_.pop_back();
    const auto dot = prefix_.rfind('.');
    prefix_.resize(dot == std::string::npos ? 0 : dot + 1);
  }
  void check(std::string_view field, const std::string& why) override {
    require_input(why.empty(), "{}: {}", name(field), why);
  }

 private:
  std::string name(std::string_view field) const {
    const auto path = prefix_ + std::string(field);
    const auto found = names_.find(path);
    return place_ + ": " + (found == names_.end() ? path : found->second);
  }

  const std::string& place_;
  const OptionNames& names_;
  std::string prefix_;
};

}  // namespace

void check_option_bounds(ModelSpec& spec, const std::string& place, const OptionNames& names) {
  BoundsCheck check(place, names);
  spec.visit(check);
}

}  // namespace blockwise
