#include "experiments/commands/flag_hints.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "core/base/error.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {
namespace {

// The dotted paths of all keys of a field list.
class KeyCollector : public FieldVisitor {
 public:
  explicit KeyCollector(std::set<std::string>& keys) : keys_(keys) {}
  void real(const Field& f, double&, const RealBounds&) override { add(f); }
  void integer(const Field& f, std::int64_t&, const IntegerBounds&) override { add(f); }
  void boolean(const Field& f, bool&) override { add(f); }
  void text(const Field& f, std::string&) override { add(f); }
  void text_list(const Field& f, std::vector<std::string>&) override { add(f); }
  void choice(const Field& f, std::string&, const std::vector<std::string>&) override { add(f); }
  void choice_list(const Field& f, std::vector<std::string>&,
                   const std::vector<std::string>&) override {
    add(f);
  }
  void integer_list(const Field& f, std::vector<std::int64_t>&, const IntegerBounds&) override {
    add(f);
  }
  void begin_section(const Field& f) override { path_.emplace_back(f.name); }
  void end_section() override { path_.pop_back(); }
  void check(std::string_view, const std::string&) override {}

 private:
  // Keys outside of a section are words that stand in sentences, too.
  void add(const Field& f) {
    if (path_.empty()) return;
    auto path = path_;
    path.emplace_back(f.name);
    keys_.insert(fmt::format("{}", fmt::join(path, ".")));
  }

  std::set<std::string>& keys_;
  std::vector<std::string> path_;
};

// Of every kind of data set and family of models.
std::set<std::string> all_keys() {
  std::set<std::string> keys;
  KeyCollector collector(keys);
  RunConfig config;
  config.model.family = model_families().names().front();
  config.visit(collector);
  collector.begin_section({"data", ""});
  for (const auto& kind : dataset_kinds()) kind.make()->visit(collector);
  collector.end_section();
  collector.begin_section({"model", ""});
  for (const auto& family : model_families()) family.make()->visit(collector);
  return keys;
}

bool in_word(unsigned char c) {
  return std::isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-';
}

// Whether a path, or something below it, stands in a message: not as a part of another word.
bool mentions(const std::string& message, const std::string& path) {
  for (auto at = message.find(path); at != std::string::npos; at = message.find(path, at + 1)) {
    const auto end = at + path.size();
    const bool begins = at == 0 || !in_word(static_cast<unsigned char>(message[at - 1]));
    const bool ends = end == message.size() || message[end] == '/' || message[end] == '.' ||
                      !in_word(static_cast<unsigned char>(message[end]));
    if (begins && ends) return true;
  }
  return false;
}

// Words of a message that are keys, each once, in the order in which they stand.
std::vector<std::string> keys_in(const std::string& message) {
  const auto keys = all_keys();
  std::vector<std::string> found;
  for (auto begin = message.begin(); begin != message.end();) {
    begin = std::find_if(begin, message.end(), in_word);
    const auto end = std::find_if_not(begin, message.end(), in_word);
    const std::string word(begin, end);
    if (keys.contains(word) && std::ranges::count(found, word) == 0) found.push_back(word);
    begin = end;
  }
  return found;
}

}  // namespace

std::string with_flags(const std::string& message, const FlagTable& flags) {
  std::vector<std::string> hints;
  const auto add = [&](const std::string& flag, const std::string& usage) {
    const bool named = message.find(flag) != std::string::npos;
    if (!named && std::ranges::count(hints, usage) == 0) hints.push_back(usage);
  };
  for (const auto& key : keys_in(message)) {
    const auto own =
        std::ranges::find(flags.keys, key, [](const auto& entry) { return entry.first; });
    if (own != flags.keys.end()) {
      add(own->second, own->second);
    } else if (flags.has_set) {
      add("--set " + key, fmt::format("--set {}=VALUE", key));
    }
  }
  for (const auto& [value, flag] : flags.values) {
    if (!value.empty() && mentions(message, value)) add(flag, flag);
  }
  return hints.empty() ? message : fmt::format("{} (flags: {})", message, fmt::join(hints, ", "));
}

int run_with_flag_hints(const FlagTable& flags, const std::function<int()>& work) {
  try {
    return work();
  } catch (const InputError& error) {
    throw InputError(with_flags(error.what(), flags));
  }
}

}  // namespace blockwise
