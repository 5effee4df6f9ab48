// Registry: what a YAML can name of one kind (update rules, model families, data sets), in the
// order of the kind's registry.inc, which has one line for each.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

namespace blockwise {

template <typename Spec>
class Registry {
 public:
  struct Entry {
    std::string name;
    std::unique_ptr<Spec> (*make)();
  };

  // what: of one entry, for messages, such as "optimizer".
  Registry(std::string what, std::vector<Entry> entries)
      : what_(std::move(what)), entries_(std::move(entries)) {}

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  std::size_t size() const { return entries_.size(); }
  const Entry& operator[](std::size_t i) const { return entries_[i]; }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : entries_) names.push_back(entry.name);
    return names;
  }
  // Throws InputError for a name that is not there.
  std::unique_ptr<Spec> make(std::string_view name) const {
    for (const auto& entry : entries_) {
      if (entry.name == name) return entry.make();
    }
    throw InputError(fmt::format("unknown {} '{}'", what_, name));
  }

 private:
  std::string what_;
  std::vector<Entry> entries_;
};

}  // namespace blockwise
