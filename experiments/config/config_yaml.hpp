// Strict YAML. Every mistake is an InputError "file:line:column: what, which bound, did you mean".
// yaml-cpp stays behind this header.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"
#include "experiments/config/sweep_config.hpp"

namespace blockwise {

// A parsed file with overrides. Refused before anything is built from it: above 1 MiB, nested
// deeper than 64, more than 100,000 nodes once aliases are expanded, more than one document,
// repeated keys.
class YamlDocument {
 public:
  static YamlDocument load(const std::filesystem::path& path);
  static YamlDocument parse(const std::string& text, const std::string& name);
  YamlDocument(YamlDocument&&) noexcept;
  ~YamlDocument();

  YamlDocument clone() const;
  // Sets a dotted key to a YAML value; `origin` is named in errors, for example "--set seed=3".
  void set(const std::string& path, const std::string& value, const std::string& origin);
  // "a.b=c" of the command line.
  void set(const std::string& assignment);
  bool has_sweep() const;
  // "x.yaml:3:5: hessian.lanczos_steps is now hessian.lanczos.steps; ...", of keys that have moved;
  // empty without one.
  std::string moved_note() const;
  // Where the text is a run's own, which nobody will rewrite.
  void forget_moved();

  RunConfig run_config() const;  // a `sweep` section is left alone
  SweepConfig sweep_config() const;

  struct Tree;  // experiments/config/yaml_tree.hpp

 private:
  explicit YamlDocument(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

}  // namespace blockwise
