#include <fmt/format.h>

#include <array>
#include <cmath>

#include "core/partition/partition_rules.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/config/run_config.hpp"
#include "experiments/config/sweep_config.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

// Prints a field list: name, default, bounds, meaning.
class FieldPrinter : public FieldVisitor {
 public:
  void real(const Field& f, double& value, const RealBounds& b) override {
    line(f, fmt::format("{}", value), real_bounds(b));
  }
  void integer(const Field& f, std::int64_t& value, const IntegerBounds& b) override {
    const bool open = b.max >= (std::int64_t{1} << 40);
    line(f, fmt::format("{}", value),
         open ? fmt::format(">= {}", b.min) : fmt::format("{} .. {}", b.min, b.max));
  }
  void boolean(const Field& f, bool& value) override {
    line(f, value ? "true" : "false", "true, false");
  }
  void text(const Field& f, std::string& value) override { line(f, value, "text"); }
  void text_list(const Field& f, std::vector<std::string>& values) override {
    line(f, fmt::format("[{}]", fmt::join(values, ", ")), "list of texts");
  }
  void choice(const Field& f, std::string& value, const std::vector<std::string>& c) override {
    line(f, value, fmt::format("{}", fmt::join(c, ", ")));
  }
  void choice_list(const Field& f, std::vector<std::string>& values,
                   const std::vector<std::string>& c) override {
    line(f, fmt::format("[{}]", fmt::join(values, ", ")),
         fmt::format("list of {}", fmt::join(c, ", ")));
  }
  void integer_list(const Field& f, std::vector<std::int64_t>& values,
                    const IntegerBounds& b) override {
    line(f, fmt::format("[{}]", fmt::join(values, ", ")),
         fmt::format("list of {} .. {}", b.min, b.max));
  }
  void value(const Field& f, std::string& yaml) override { line(f, yaml, "any value"); }
  void value_list(const Field& f, std::vector<std::string>& yaml) override {
    line(f, fmt::format("[{}]", fmt::join(yaml, ", ")), "list of any values");
  }
  void value_map(const Field& f, TextMap&) override { line(f, "{}", "KEY: any value, ..."); }
  void section_list(const Field& f, Sections& sections) override {
    items(f, "a list, each item with", sections);
  }
  void section_map(const Field& f, Sections& sections) override {
    items(f, "KEY: {...}, each with", sections);
  }
  void begin_section(const Field& f) override {
    print_words(fmt::format("{:{}}{}:  {}\n", "", indent_, f.name, f.doc));
    indent_ += 2;
  }
  void end_section() override { indent_ -= 2; }
  void check(std::string_view, const std::string&) override {}

 private:
  static std::string real_bounds(const RealBounds& b) {
    const auto low = std::isinf(b.min) ? "" : fmt::format("{} {}", b.min_open ? ">" : ">=", b.min);
    const auto high = std::isinf(b.max) ? "" : fmt::format("{} {}", b.max_open ? "<" : "<=", b.max);
    return low.empty() || high.empty() ? low + high : low + ", " + high;
  }
  void line(const Field& f, const std::string& value, const std::string& bounds) {
    const auto start = f.required ? "required" : value.empty() ? "\"\"" : value;
    const bool fits = start.size() <= kLongestStart;
    const auto doc = fits ? std::string(f.doc) : fmt::format("{}; default {}", f.doc, start);
    print_entry(fmt::format("{:{}}{:<20} {:<12} ", "", indent_, f.name, fits ? start : "..."), doc);
    print_entry(fmt::format("{:{}}{:<20} {:<12} ", "", indent_, "", ""),
                fmt::format("({})", bounds));
  }

  void items(const Field& f, const char* form, Sections& sections) {
    print_words(fmt::format("{:{}}{}:  {}; {}\n", "", indent_, f.name, f.doc, form));
    indent_ += 2;
    sections.append("");
    sections.visit_last(*this);
    indent_ -= 2;
  }

  // A longer default stands behind what the field means.
  static constexpr std::size_t kLongestStart = 30;

  int indent_ = 4;
};

template <typename Spec>
void print_spec(const std::string& name, Spec& spec) {
  print_words(fmt::format("  {}: {}\n", name, spec.doc()));
  FieldPrinter printer;
  spec.visit(printer);
}

void list_optimizers() {
  print_words("optimizers (optimizer.rule; option, default, meaning, bounds)\n");
  for (const auto& entry : update_rules()) print_spec(entry.name, *entry.make());
  fmt::print("  for every rule:\n");
  OptimizerConfig common;
  FieldPrinter printer;
  common.visit(printer);
}

void list_models() {
  fmt::print("models (model.family)\n");
  for (const auto& entry : model_families()) print_spec(entry.name, *entry.make());
}

void list_data() {
  fmt::print("data sets (data.kind)\n");
  for (const auto& entry : dataset_kinds()) print_spec(entry.name, *entry.make());
}

void list_schedules() {
  fmt::print("schedules (schedule.name)\n");
  for (const auto& entry : schedules())
    print_entry(fmt::format("  {:<10} ", entry.name), entry.doc);
  ScheduleConfig config;
  FieldPrinter printer;
  config.visit(printer);
}

void list_partitions() {
  fmt::print("partition rules (optimizer.partition.rule, or per role)\n");
  for (const auto& rule : partition_rules()) {
    print_entry(fmt::format("  {:<18} ", rule.name), rule.doc);
  }
}

// What is asked for depends on the method.
void list_rates() {
  fmt::print("rates (optimizer.rates)\n");
  for (const auto& method : rate_methods()) {
    fmt::print("  with method: {}\n", method);
    RateConfig config;
    config.method = method;
    FieldPrinter printer;
    config.visit(printer);
  }
}

template <typename Section>
void list_section(const char* name, Section config = {}) {
  fmt::print("{}\n", name);
  FieldPrinter printer;
  config.visit(printer);
}

void list_trainer() { list_section<TrainerConfig>("trainer"); }
void list_parallel() { list_section<ParallelConfig>("parallel"); }
void list_hessian() { list_section<HessianConfig>("hessian"); }
void list_discovery() { list_section<DiscoveryConfig>("discovery"); }
void list_search_lr() { list_section<RateSearchConfig>("search_lr"); }
void list_sweep() { list_section<SweepConfig>("sweep"); }

// In the order of the topics.
constexpr std::array<void (*)(), kListTopics.size()> kPrinters = {
    list_optimizers, list_rates,    list_models,  list_data,      list_schedules, list_partitions,
    list_trainer,    list_parallel, list_hessian, list_discovery, list_search_lr, list_sweep};

}  // namespace

int run_verb(const ListOptions& options) {
  for (std::size_t i = 0; i < kListTopics.size(); ++i) {
    if (options.topic.empty() || options.topic == kListTopics[i]) kPrinters[i]();
  }
  return 0;
}

}  // namespace blockwise
