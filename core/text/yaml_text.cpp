#include "core/text/yaml_text.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>

#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

class LimitChecker : public YAML::EventHandler {
 public:
  LimitChecker(const YamlPlace& place, const YamlLimits& limits) : place_(place), limits_(limits) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(mark, "a second document; one is read");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    leaf(mark, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    for (const auto& frame : open_) {
      if (frame.anchor == anchor) fail(mark, "an alias inside its own anchor");
    }
    add(mark, sizes_[anchor]);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YAML::anchor_t anchor;
    std::int64_t nodes;
  };

  void leaf(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) sizes_[anchor] = 1;
    add(mark, 1);
  }
  void open(const YAML::Mark& mark, YAML::anchor_t anchor) {
    open_.push_back({anchor, 0});
    if (std::ssize(open_) > limits_.depth)
      fail(mark, fmt::format("nested deeper than {} levels", limits_.depth));
    add(mark, 1);
  }
  void close() {
    const auto frame = open_.back();
    open_.pop_back();
    if (frame.anchor != YAML::NullAnchor) sizes_[frame.anchor] = frame.nodes;
    if (!open_.empty()) open_.back().nodes += frame.nodes;
  }
  void add(const YAML::Mark& mark, std::int64_t nodes) {
    total_ += nodes;
    if (!open_.empty()) open_.back().nodes += nodes;
    if (total_ > limits_.nodes) {
      fail(mark, fmt::format("more than {} nodes once aliases are expanded", limits_.nodes));
    }
  }
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw InputError(fmt::format("{}: {}", place_(mark.line + 1, mark.column + 1), what));
  }

  const YamlPlace& place_;
  const YamlLimits limits_;
  int documents_ = 0;
  std::int64_t total_ = 0;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, std::int64_t> sizes_;
};

// What the library says, by its beginning, and what that means to whoever wrote the file.
const std::pair<std::string_view, std::string_view> kReasons[] = {
    {YAML::ErrorMsg::END_OF_SEQ_FLOW, "a list in [ ] is not closed"},
    {YAML::ErrorMsg::END_OF_MAP_FLOW, "a section in { } is not closed"},
    {YAML::ErrorMsg::END_OF_SEQ, "an item of a list is expected, with the same indentation"},
    {YAML::ErrorMsg::END_OF_MAP, "a key is expected, with the same indentation"},
    {YAML::ErrorMsg::FLOW_END, "a bracket is closed that is not open"},
    {YAML::ErrorMsg::BLOCK_ENTRY, "an item of a list where none can stand"},
    {YAML::ErrorMsg::MAP_KEY, "a key where none can stand"},
    {YAML::ErrorMsg::MAP_VALUE, "a ':' where none can stand; a text that holds one needs quotes"},
    {YAML::ErrorMsg::UNKNOWN_ANCHOR, "an alias of an anchor that is not there"},
    {YAML::ErrorMsg::MULTIPLE_ANCHORS, "a value with two anchors"},
    {YAML::ErrorMsg::MULTIPLE_TAGS, "a value with two tags"},
    {YAML::ErrorMsg::EOF_IN_SCALAR, "a quote is not closed"},
    {YAML::ErrorMsg::DOC_IN_SCALAR, "a quote is not closed before the next document"},
    {YAML::ErrorMsg::INVALID_ESCAPE, "an escape with a backslash that YAML does not know"},
    {YAML::ErrorMsg::TAB_IN_INDENTATION, "a tab in the indentation; YAML wants blanks"},
    {YAML::ErrorMsg::UNKNOWN_TOKEN, "a sign that needs quotes"}};

std::string_view reason_of(std::string_view message) {
  for (const auto& [begin, meaning] : kReasons) {
    if (message.starts_with(begin)) return meaning;
  }
  return "it cannot be read from here on";
}

}  // namespace

YamlPlace file_place(std::string name) {
  return [name = std::move(name)](int line, int column) {
    return fmt::format("{}:{}:{}", name, line, column);
  };
}

YAML::Node parse_yaml(const std::string& text, const YamlPlace& place, const YamlLimits& limits) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    LimitChecker checker(place, limits);
    while (parser.HandleNextDocument(checker)) {
    }
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}: not YAML: {}",
                                 place(error.mark.line + 1, error.mark.column + 1),
                                 reason_of(error.msg)));
  }
}

}  // namespace blockwise
