// A resolved configuration, as to_yaml() writes it, as keys and values: what two configurations are
// compared by, also where one was written by an earlier version or names files that are gone.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

struct ConfigLine {
  std::size_t indent = 0;  // two blanks per section
  std::string path;        // "trainer.steps"
  std::string value;       // as it is written; empty: the head of a section
};

class ConfigLines {
 public:
  // Takes any text: what is no line of a configuration is a key without a value. Keys that have
  // moved (former_keys.hpp) stand under their names of now, whatever version wrote the text.
  explicit ConfigLines(const std::string& yaml);

  const std::vector<ConfigLine>& lines() const { return lines_; }
  // The value as it is written; empty where there is no such key.
  std::string value(std::string_view path) const;
  // Of a map, which is written in one line, the names; none where there is no such key.
  std::vector<std::string> names(std::string_view path) const;
  // Gives a key that is there another value; an empty one takes it out.
  void set(std::string_view path, const std::string& value);
  // The text again.
  std::string yaml() const;
  // With the keys of `hessian` named and ordered as before they moved: what hashes are made of, so
  // that those of runs of every version agree.
  std::string former_yaml() const;

 private:
  void replace_hessian(const std::vector<ConfigLine>& keys);

  std::vector<ConfigLine> lines_;
};

}  // namespace blockwise
