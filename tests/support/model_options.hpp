// Every option of every model family, one at a time and all together: found by visit(), so that a
// new one is tested without being named here.
#pragma once

#include <map>

#include "tests/support/small_models.hpp"

namespace blockwise::testing {

// Values other than the default of every boolean and every choice, as the fields of a spec.
class OptionValues : public FieldVisitor {
 public:
  void boolean(const Field& f, bool& value) override { add(f, !value); }
  void choice(const Field& f, std::string& value, const std::vector<std::string>& all) override {
    for (const auto& other : all) {
      if (other != value) add(f, other);
    }
  }
  void real(const Field& f, double&, const RealBounds&) override {
    if (f.name == "dropout") add(f, 0.3);
  }
  void integer(const Field& f, std::int64_t&, const IntegerBounds&) override {
    static const std::map<std::string, std::int64_t, std::less<>> sizes = {
        {"sliding_window", 3}, {"n_kv_head", 2}, {"head_dim", 6}, {"intermediate_size", 20}};
    const auto found = sizes.find(f.name);
    if (found != sizes.end()) add(f, found->second);
  }
  void text(const Field&, std::string&) override {}
  void text_list(const Field&, std::vector<std::string>&) override {}
  void choice_list(const Field&, std::vector<std::string>&,
                   const std::vector<std::string>&) override {}
  void integer_list(const Field&, std::vector<std::int64_t>&, const IntegerBounds&) override {}
  void begin_section(const Field& f) override { sections_.emplace_back(f.name); }
  void end_section() override { sections_.pop_back(); }
  void check(std::string_view, const std::string&) override {}

  std::vector<nlohmann::json> fields;

 private:
  template <typename T>
  void add(const Field& f, const T& value) {
    nlohmann::json inner = {{std::string(f.name), value}};
    for (auto s = sections_.rbegin(); s != sections_.rend(); ++s) {
      // The trained context of a rotary scaling is below the batch's five positions.
      if (*s == "rope_scaling") inner.update({{"factor", 2.0}, {"original_positions", 4}});
      inner = {{*s, inner}};
    }
    fields.push_back(inner);
  }
  std::vector<std::string> sections_;
};

inline std::vector<SmallModel> models_with_every_option() {
  const auto small = small_models();
  std::vector<SmallModel> models;
  for (auto base : {small[0], small[3], small[7]}) {
    // Heads of 4: a dynamic rotary scaling has no base for fewer than 3.
    if (base.family == "llama") base.fields["head_dim"] = 4;
    auto spec = base.spec();
    OptionValues values;
    spec->visit(values);
    auto all = base;
    for (const auto& fields : values.fields) {
      auto model = base;
      model.fields.merge_patch(fields);
      model.name = base.family + " " + fields.dump();
      models.push_back(model);
      all.fields.merge_patch(fields);
    }
    all.name = base.family + " with all of them";
    models.push_back(all);
  }
  return models;
}

}  // namespace blockwise::testing
