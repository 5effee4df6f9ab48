#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/text/text_table.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/training/communication_plan.hpp"
#include "experiments/training/memory_plan.hpp"
#include "experiments/training/model_shares.hpp"

namespace blockwise {
namespace {

Cluster cluster_of(const RunConfig& config, const PlanOptions& options) {
  const ModelShares shares(config.optimizer, config.parallel, *config.model.spec,
                           config.model.spec->layout(), {0, options.ranks},
                           static_cast<std::uint64_t>(config.seed));
  return {options.ranks, options.gigabytes_per_second * 1e9, options.teraflops * 1e12,
          shares.largest_share()};
}

constexpr double kGibibyte = double(1 << 30);
constexpr std::int64_t kUsualDevice = std::int64_t{80} << 30;

// "80GB" or "80GiB"; a number alone is GiB.
std::int64_t device_bytes(const std::string& text) {
  double number = 0.0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, std::size_t(end - rest));
  const bool is_known = error == std::errc() && (unit.empty() || unit == "GB" || unit == "GiB");
  require_input(is_known && number >= 1e-3 && number <= 1e6,
                "--device-memory: '{}' is not a size like 80GB or 80GiB, of 0.001 to 1000000",
                text);
  return static_cast<std::int64_t>(number * (unit == "GB" ? 1e9 : kGibibyte));
}

// Of a plan on a device of so many bytes. Beside tensors is what a process has at most.
struct Fit {
  std::int64_t needed, device;
  bool fits() const { return needed <= device; }
  std::string text() const {
    const double gigabytes = double(needed) / 1e9, room = double(device) / 1e9;
    return fits() ? fmt::format("It fits: {:.2f} GB of {:.2f} GB, {:.2f} GB are left.", gigabytes,
                                room, room - gigabytes)
                  : fmt::format("It does not fit: {:.2f} GB, and the device has {:.2f} GB.",
                                gigabytes, room);
  }
};

// Of the process that makes the run, or of each of several.
std::optional<Fit> fit_of(const MemoryPlan& plan, const RunConfig& config,
                          const PlanOptions& options) {
  if (options.device_memory.empty()) return std::nullopt;
  const auto peak = options.ranks > 1
                        ? plan_communication(plan, config, cluster_of(config, options)).peak_bytes
                        : plan.peak_bytes;
  return Fit{peak + kMostBesideTensors, device_bytes(options.device_memory)};
}

std::int64_t planned_device(const PlanOptions& options) {
  return options.device_memory.empty() ? kUsualDevice : device_bytes(options.device_memory);
}

std::string device_text(std::int64_t count) {
  return count == 0 ? "none is enough" : fmt::format("{}", count);
}

// What takes memory, with its bytes.
std::vector<std::pair<std::string, std::int64_t>> memory_rows(const MemoryPlan& plan) {
  std::vector<std::pair<std::string, std::int64_t>> rows = {{"parameters", plan.parameter_bytes},
                                                            {"gradients", plan.gradient_bytes}};
  for (const auto& [kind, bytes] : plan.optimizer) rows.emplace_back("optimizer: " + kind, bytes);
  const std::vector<std::pair<std::string, std::int64_t>> further = {
      {"optimizer, all", plan.optimizer_bytes()},
      {"activations at the peak", plan.activation_bytes},
      {"peak", plan.peak_bytes},
      {"resident, about: from", plan.peak_bytes + kLeastBesideTensors},
      {"resident, about: to", plan.peak_bytes + kMostBesideTensors},
      {"peak without checkpointing", plan.peak_bytes_without_checkpointing},
      {"peak with checkpointing", plan.peak_bytes_with_checkpointing},
      {"one checkpoint on disk", plan.checkpoint_bytes}};
  rows.insert(rows.end(), further.begin(), further.end());
  return rows;
}

TextTable rule_table(const MemoryPlan& plan) {
  TextTable rules({key_column("rule"), value_column("tensors"), value_column("parameters")});
  for (const auto& share : plan.rules) {
    rules.add({share.rule, fmt::format("{}", share.tensors), fmt::format("{}", share.parameters)});
  }
  return rules;
}

// Peak rates of the roles that the model has; none where all are learning_rate.
TextTable rate_table(const RunConfig& config, const MemoryPlan& plan) {
  TextTable rates({key_column("role"), value_column("factor"), value_column("peak rate")});
  for (const auto& [role, factor] : plan.role_factors) {
    rates.add({role, fmt::format("{:g}", factor),
               fmt::format("{:g}", factor * config.optimizer.learning_rate)});
  }
  return rates;
}

void print_table(const RunConfig& config, const MemoryPlan& plan, const PlanOptions& options) {
  const auto width = options.tables.columns();
  print_words(fmt::format("{}: {} parameters, optimizer {}, precision {}, micro-batch {}\n\n",
                          config.name, plan.parameters, config.optimizer.rule,
                          config.trainer.precision, config.trainer.micro_batch_size));
  if (plan.rules.size() > 1) fmt::print("{}\n", rule_table(plan).text(width));
  if (!plan.role_factors.empty()) fmt::print("{}\n", rate_table(config, plan).text(width));
  if (config.optimizer.rates.method == "llr") {
    print_words(fmt::format("rates: {:g} to {:g} times {:g}, by the spectra of the weights\n\n",
                            config.optimizer.rates.lowest, config.optimizer.rates.highest,
                            config.optimizer.learning_rate));
  }
  TextTable memory(
      {key_column("memory"), value_column("bytes"), value_column("GB"), value_column("GiB")});
  for (const auto& [name, bytes] : memory_rows(plan)) {
    memory.add({name, fmt::format("{}", bytes), fmt::format("{:.4f}", double(bytes) / 1e9),
                fmt::format("{:.3f}", double(bytes) / kGibibyte)});
  }
  const auto device = planned_device(options);
  const double gibibytes = double(device) / kGibibyte;
  TextTable others({key_column("cost"), value_column("")});
  others.add({"FLOPs per token, training", fmt::format("{:.4g}", plan.flops_per_token)});
  others.add({"bytes per parameter that the optimizer moves in a step",
              fmt::format("{:.4g}", double(plan.step_bytes) / double(plan.parameters))});
  others.add({fmt::format("devices of {:.4g} GiB, state sharded", gibibytes),
              device_text(devices_state_sharded(plan, device))});
  others.add({fmt::format("devices of {:.4g} GiB, all sharded", gibibytes),
              device_text(devices_all_sharded(plan, device))});
  fmt::print("{}\n{}", memory.text(width), others.text(width));
  if (const auto fit = fit_of(plan, config, options)) print_words("\n" + fit->text() + "\n");
}

std::string seconds_text(double seconds) {
  return seconds > 0.0 ? fmt::format("{:.3g} s", seconds) : "-";
}

void print_communication(const RunConfig& config, const MemoryPlan& plan,
                         const PlanOptions& options) {
  const auto of = plan_communication(plan, config, cluster_of(config, options));
  TextTable table({key_column(fmt::format("each of {} processes, parallel.shard {}", options.ranks,
                                          config.parallel.shard)),
                   value_column("")});
  table.add({"sent in a step", fmt::format("{:.4g} GB", of.sent_bytes / 1e9)});
  table.add({"time to send it", seconds_text(of.seconds_sending)});
  table.add({"time to compute a step", seconds_text(of.seconds_computing)});
  table.add({"optimizer", fmt::format("{:.4g} GB", double(of.optimizer_bytes) / 1e9)});
  table.add({"peak", fmt::format("{:.4g} GB", double(of.peak_bytes) / 1e9)});
  fmt::print("\n{}", table.text(options.tables.columns()));
}

void print_json(const RunConfig& config, const MemoryPlan& plan, const PlanOptions& options) {
  const auto device = planned_device(options);
  nlohmann::ordered_json word = {
      {"name", config.name},
      {"parameters", plan.parameters},
      {"parameter_bytes", plan.parameter_bytes},
      {"gradient_bytes", plan.gradient_bytes},
      {"master_bytes", plan.master_bytes},
      {"optimizer", nlohmann::ordered_json::object()},
      {"optimizer_bytes", plan.optimizer_bytes()},
      {"activation_bytes", plan.activation_bytes},
      {"peak_bytes", plan.peak_bytes},
      {"resident_bytes_least", plan.peak_bytes + kLeastBesideTensors},
      {"resident_bytes_most", plan.peak_bytes + kMostBesideTensors},
      {"peak_bytes_without_checkpointing", plan.peak_bytes_without_checkpointing},
      {"peak_bytes_with_checkpointing", plan.peak_bytes_with_checkpointing},
      {"checkpoint_bytes", plan.checkpoint_bytes},
      {"flops_per_token", plan.flops_per_token},
      {"step_bytes", plan.step_bytes},
      {"device_bytes", device},
      {"devices_state_sharded", devices_state_sharded(plan, device)},
      {"devices_all_sharded", devices_all_sharded(plan, device)}};
  for (const auto& [kind, bytes] : plan.optimizer) word["optimizer"][kind] = bytes;
  for (const auto& [rule, tensors, parameters] : plan.rules) {
    word["rules"][rule] = {{"tensors", tensors}, {"parameters", parameters}};
  }
  for (const auto& [role, factor] : plan.role_factors) {
    word["peak_rates"][role] = factor * config.optimizer.learning_rate;
  }
  if (options.ranks > 1) {
    const auto of = plan_communication(plan, config, cluster_of(config, options));
    word["each_rank"] = {{"ranks", options.ranks},
                         {"sent_bytes", of.sent_bytes},
                         {"seconds_sending", of.seconds_sending},
                         {"seconds_computing", of.seconds_computing},
                         {"optimizer_bytes", of.optimizer_bytes},
                         {"peak_bytes", of.peak_bytes},
                         {"needed_bytes", of.peak_bytes + kMostBesideTensors}};
  }
  if (const auto fit = fit_of(plan, config, options)) {
    word["needed_bytes"] = fit->needed;
    word["fits"] = fit->fits();
  }
  fmt::print("{}\n", json_text(word));
}

}  // namespace

int run_verb(const PlanOptions& options) {
  planned_device(options);  // refused before the work
  auto document = YamlDocument::load(options.config);
  for (const auto& assignment : options.assignments) document.set(assignment);
  print_note(document.moved_note());
  auto config = document.run_config();
  adapt_to_stated_data(config);
  set_threads(config.trainer.threads);  // each takes memory of its own
  const auto plan = plan_memory(config);
  print_note(plan.note);
  print_note(plan.updates_note);
  require_input(plan.note.empty() || options.device_memory.empty(),
                "--device-memory: whether the run fits is not known without its activations");
  if (options.json) {
    print_json(config, plan, options);
  } else {
    print_table(config, plan, options);
    if (options.ranks > 1) print_communication(config, plan, options);
  }
  const auto fit = fit_of(plan, config, options);
  return fit && !fit->fits() ? kExitFailed : kExitFinished;
}

}  // namespace blockwise
