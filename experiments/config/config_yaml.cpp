#include "experiments/config/config_yaml.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/text/yaml_text.hpp"
#include "experiments/config/config_reader.hpp"
#include "experiments/config/former_keys.hpp"
#include "experiments/config/yaml_tree.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

}  // namespace

YamlDocument::YamlDocument(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
YamlDocument::YamlDocument(YamlDocument&&) noexcept = default;
YamlDocument::~YamlDocument() = default;

YamlDocument YamlDocument::load(const std::filesystem::path& path) {
  return parse(read_text_file(path, kMaxBytes), path.string());
}

YamlDocument YamlDocument::parse(const std::string& text, const std::string& name) {
  require_input(text.size() <= kMaxBytes, "{}: {} bytes, at most {} are accepted", name,
                text.size(), kMaxBytes);
  auto tree = std::make_unique<Tree>();
  tree->name = name;
  tree->root = parse_yaml(text, file_place(name));
  require_input(tree->root.IsMap(), "{}:1:1: keys and values are expected, there is {}", name,
                shown(tree->root));
  move_former_keys(*tree);
  return YamlDocument(std::move(tree));
}

YamlDocument YamlDocument::clone() const {
  // reset(), not =: assignment to a node changes what every handle of it sees, the original too.
  auto tree = std::make_unique<Tree>();
  tree->name = tree_->name;
  tree->origins = tree_->origins;
  tree->hints = tree_->hints;
  tree->root.reset(YAML::Clone(tree_->root));
  return YamlDocument(std::move(tree));
}

void set_key(YamlDocument::Tree& tree, const std::string& given, const std::string& value,
             const std::string& origin) {
  require_input(!given.empty() && given.front() != '.' && given.back() != '.' &&
                    given.find("..") == std::string::npos,
                "{}: '{}' is not a key like optimizer.learning_rate", origin, given);
  const auto path = present_key(given);
  if (path != given) tree.hints.push_back(moved_text(origin, given));
  YAML::Node node = tree.root;
  std::istringstream parts(path);
  std::string key, walked;
  while (std::getline(parts, key, '.')) {
    require_input(node.IsMap() || node.IsNull() || !node.IsDefined(),
                  "{}: '{}' is not a section, so it has no key '{}'", origin, walked, key);
    walked = join_path(walked, key);
    node.reset(node[key]);
  }
  node = parse_yaml(value.empty() ? "''" : value, [&](int, int) { return origin; });
  tree.origins[path] = origin;
  if (path == "hessian") move_former_keys(tree);
}

void YamlDocument::set(const std::string& path, const std::string& value,
                       const std::string& origin) {
  set_key(*tree_, path, value, origin);
}

void YamlDocument::set(const std::string& assignment) {
  const auto equals = assignment.find('=');
  require_input(equals != std::string::npos && equals > 0,
                "--set {}: the form is key=value, for example optimizer.learning_rate=1e-3",
                assignment);
  set(assignment.substr(0, equals), assignment.substr(equals + 1), "--set " + assignment);
}

std::string YamlDocument::moved_note() const {
  constexpr std::size_t kNamed = 3;
  const auto& hints = tree_->hints;
  const auto named = std::min(kNamed, hints.size());
  auto note =
      fmt::format("{}", fmt::join(hints.begin(), hints.begin() + std::ptrdiff_t(named), "; "));
  if (hints.size() > named) {
    note += fmt::format("; and {} more, see `blockwise list hessian`", hints.size() - named);
  }
  return note;
}

void YamlDocument::forget_moved() { tree_->hints.clear(); }

bool YamlDocument::has_sweep() const { return std::as_const(tree_->root)["sweep"].IsDefined(); }

namespace {

// The readers ask a node what it is before they take it as that. Where one did not, the place and
// our words are still better than the library's.
template <typename Read>
auto read_tree(const YamlDocument::Tree& tree, const Read& read) {
  try {
    return read(tree);
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}: a value of another kind than is expected here",
                                 tree.place(error.mark, "")));
  }
}

}  // namespace

RunConfig YamlDocument::run_config() const { return read_tree(*tree_, read_run_config); }

SweepConfig YamlDocument::sweep_config() const { return read_tree(*tree_, read_sweep_config); }

}  // namespace blockwise
