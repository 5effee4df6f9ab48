// One field list per configuration struct. A struct's visit() names its fields once, in order, and
// that list is what reads the YAML, prints the resolved configuration, hashes it, checks bounds and
// makes the help of `blockwise list`.
//
// A visitor may stop at any field by throwing InputError with the place it knows.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

struct Field {
  std::string_view name;
  std::string_view doc;   // one line; units in it where there are any
  bool required = false;  // no default: a YAML without it is an error
};

struct RealBounds {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;  // the minimum itself is not allowed
  bool max_open = false;
};

struct IntegerBounds {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void real(const Field& field, double& value, const RealBounds& bounds) = 0;
  virtual void integer(const Field& field, std::int64_t& value, const IntegerBounds& bounds) = 0;
  virtual void boolean(const Field& field, bool& value) = 0;
  virtual void text(const Field& field, std::string& value) = 0;
  virtual void text_list(const Field& field, std::vector<std::string>& values) = 0;
  virtual void choice(const Field& field, std::string& value,
                      const std::vector<std::string>& choices) = 0;
  virtual void choice_list(const Field& field, std::vector<std::string>& values,
                           const std::vector<std::string>& choices) = 0;
  virtual void integer_list(const Field& field, std::vector<std::int64_t>& values,
                            const IntegerBounds& bounds) = 0;
  virtual void begin_section(const Field& field) = 0;
  virtual void end_section() = 0;
  // Checks that need more than one field: `why` is empty when the values agree.
  virtual void check(std::string_view field, const std::string& why) = 0;
};

}  // namespace blockwise
