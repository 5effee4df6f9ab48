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
#include <utility>
#include <vector>

namespace blockwise {

// What to write for a word that people bring along from other tools, ": write ..."; otherwise "".
using WordHint = std::string (*)(const std::string& word);

struct Field {
  std::string_view name;
  std::string_view doc;     // one line; units in it where there are any
  bool required = false;    // no default: a YAML without it is an error
  WordHint hint = nullptr;  // for words of a choice, for keys of a section
};

struct RealBounds {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;  // the minimum itself is not allowed
  bool max_open = false;
};

// The upper bound of counts that have no natural one.
inline constexpr std::int64_t kLargeCount = std::int64_t{1} << 30;

struct IntegerBounds {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

// From names to texts, in the order in which they were given; no name twice.
using TextMap = std::vector<std::pair<std::string, std::string>>;

class FieldVisitor;

// Sections of one kind, as many as the user writes.
class Sections {
 public:
  virtual ~Sections() = default;
  virtual void append(const std::string& name) = 0;  // one more, with its defaults
  virtual void visit_last(FieldVisitor& v) = 0;
};

template <typename Item>
class SectionsOf final : public Sections {
 public:
  SectionsOf(std::vector<Item>& items, std::string Item::*name) : items_(items), name_(name) {}
  void append(const std::string& name) override { items_.emplace_back().*name_ = name; }
  void visit_last(FieldVisitor& v) override { items_.back().visit(v); }

 private:
  std::vector<Item>& items_;
  std::string Item::*name_;
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
  // Visitors that know no maps see a list of NAME: TEXT, which they cannot change.
  virtual void text_map(const Field& field, TextMap& values) {
    std::vector<std::string> entries;
    for (const auto& [name, text] : values) entries.push_back(name + ": " + text);
    text_list(field, entries);
  }
  // Any value, a list in one line, too, kept as YAML; lists of such, and maps to such.
  virtual void value(const Field& field, std::string& yaml) { text(field, yaml); }
  virtual void value_list(const Field& field, std::vector<std::string>& yaml) {
    text_list(field, yaml);
  }
  virtual void value_map(const Field& field, TextMap& yaml) { text_map(field, yaml); }
  // Sections in a list, or in a map under names: {a: {...}}, where a name may be nested as
  // {a: {FIELD: {b: ...}}}, which is a.b. For visitors that make what the user wrote, or tell what
  // can be written.
  virtual void section_list(const Field&, Sections&) {}
  virtual void section_map(const Field&, Sections&) {}
  virtual void begin_section(const Field& field) = 0;
  virtual void end_section() = 0;
  // Checks that need more than one field: `why` is empty when the values agree. field: a dotted
  // path below the section, "" for the section itself.
  virtual void check(std::string_view field, const std::string& why) = 0;
};

}  // namespace blockwise
