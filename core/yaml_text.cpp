#include "experiments/yaml_limits.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <vector>

#include "core/error.hpp"

namespace blockwise {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxNodes = 100'000;

class LimitChecker : public YAML::EventHandler {
 public:
  explicit LimitChecker(std::string name) : name_(std::move(name)) {}

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
    if (open_.size() > kMaxDepth)
      fail(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
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
    if (total_ > kMaxNodes) {
      fail(mark, fmt::format("more than {} nodes once aliases are expanded", kMaxNodes));
    }
  }
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw InputError(fmt::format("{}:{}:{}: {}", name_, mark.line + 1, mark.column + 1, what));
  }

  std::string name_;
  int documents_ = 0;
  std::int64_t total_ = 0;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, std::int64_t> sizes_;
};

}  // namespace

void check_yaml_limits(const std::string& text, const std::string& name) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  LimitChecker limits(name);
  while (parser.HandleNextDocument(limits)) {
  }
}

}  // namespace blockwise
