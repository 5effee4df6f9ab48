// A visitor that looks for some fields of a list and passes over the rest.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"

namespace blockwise {

// Does nothing for any kind of field; override the kinds that are looked for.
class FieldFinder : public FieldVisitor {
 public:
  void real(const Field&, double&, const RealBounds&) override {}
  void integer(const Field&, std::int64_t&, const IntegerBounds&) override {}
  void boolean(const Field&, bool&) override {}
  void text(const Field&, std::string&) override {}
  void text_list(const Field&, std::vector<std::string>&) override {}
  void choice(const Field&, std::string&, const std::vector<std::string>&) override {}
  void choice_list(const Field&, std::vector<std::string>&,
                   const std::vector<std::string>&) override {}
  void integer_list(const Field&, std::vector<std::int64_t>&, const IntegerBounds&) override {}
  void begin_section(const Field&) override {}
  void end_section() override {}
  void check(std::string_view, const std::string&) override {}
};

}  // namespace blockwise
