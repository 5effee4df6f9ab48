// Another value for every key of a configuration: found by visit(), so that a new key is tried
// without being named here.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "core/base/fields.hpp"

namespace blockwise::testing {

// Within each key's bounds; what keys have to do with each other is not heeded. Of paths and lists
// of names there is no telling what another one may be: those get what is given here.
class OtherValues : public FieldVisitor {
 public:
  using Assignments = std::vector<std::pair<std::string, std::string>>;  // key, value in YAML

  void real(const Field& f, double& value, const RealBounds& bounds) override {
    const double up = value == 0.0 ? 0.25 : value * 1.25;
    const bool fits = up < bounds.max;
    add(f, fmt::format("{:.6e}", fits ? up : value * 0.75));
  }
  void integer(const Field& f, std::int64_t& value, const IntegerBounds& bounds) override {
    add(f, fmt::format("{}", value < bounds.max ? value + 1 : value - 1));
  }
  void boolean(const Field& f, bool& value) override { add(f, value ? "false" : "true"); }
  void text(const Field& f, std::string&) override { add(f, "another"); }
  void text_list(const Field& f, std::vector<std::string>&) override { add(f, "[another]"); }
  void text_map(const Field& f, TextMap&) override { add(f, "{another: another}"); }
  void choice(const Field& f, std::string& value, const std::vector<std::string>& all) override {
    for (const auto& other : all) {
      if (other != value) return add(f, other);
    }
  }
  void choice_list(const Field& f, std::vector<std::string>& values,
                   const std::vector<std::string>& all) override {
    add(f, values.empty() ? "[" + all.front() + "]" : "[]");
  }
  void integer_list(const Field& f, std::vector<std::int64_t>& values,
                    const IntegerBounds& bounds) override {
    add(f, values.empty() ? fmt::format("[{}]", std::max<std::int64_t>(bounds.min, 1)) : "[]");
  }
  void begin_section(const Field& f) override { sections_.emplace_back(f.name); }
  void end_section() override { sections_.pop_back(); }
  void check(std::string_view, const std::string&) override {}

  Assignments found;

 private:
  void add(const Field& f, const std::string& value) {
    std::string key;
    for (const auto& section : sections_) key += section + ".";
    found.emplace_back(key + std::string(f.name), value);
  }
  std::vector<std::string> sections_;
};

}  // namespace blockwise::testing
