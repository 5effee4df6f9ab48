#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/bench_report.hpp"
#include "experiments/bench/step_profile.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

nlohmann::ordered_json machine_json(int threads, const at::Device& device) {
  const auto provenance = make_provenance(device, threads, 0);
  return {{"program", provenance.program_version},
          {"device", device_description(device)},
          {"torch", provenance.torch_version},
          {"simd", provenance.simd_target},
          {"threads", threads}};
}

void run_groups(const BenchOptions& options, const BenchSubject& subject,
                nlohmann::ordered_json& document) {
  for (const auto& named : bench_groups()) {
    const bool wanted =
        options.groups.empty() || std::ranges::count(options.groups, std::string(named.name)) > 0;
    if (!wanted) continue;
    if (named.on_cpu_alone && !subject.device.is_cpu()) {
      require_input(options.groups.empty(), "{}: is timed on the CPU alone", named.name);
      continue;
    }
    fmt::print(stderr, "blockwise: {}: {}\n", named.name, named.doc);
    auto group = named.make(subject);
    if (!options.cases.empty()) group = chosen_cases(std::move(group), options.cases);
    const auto times = time_cases(group, options.length, subject.device);
    if (options.json) {
      document["groups"][std::string(named.name)] = bench_json(group, times);
    } else {
      fmt::print("{}\n", bench_table(group, times).text(options.tables.columns()));
    }
  }
}

TextTable profile_table(const char* title, const std::vector<ProfilePart>& parts, double whole) {
  TextTable table({key_column(title), value_column("ms"), value_column("%")});
  for (const auto& [name, seconds] : parts) {
    table.add({name, fmt::format("{:.3f}", 1e3 * seconds),
               fmt::format("{:.1f}", 100.0 * seconds / whole)});
  }
  return table;
}

nlohmann::ordered_json seconds_json(const std::vector<ProfilePart>& parts) {
  auto object = nlohmann::ordered_json::object();
  for (const auto& [name, seconds] : parts) object[name] = seconds;
  return object;
}

void run_profile(const BenchOptions& options, nlohmann::ordered_json& document) {
  auto yaml = YamlDocument::load(options.profile);
  for (const auto& assignment : options.assignments) yaml.set(assignment);
  auto config = yaml.run_config();
  if (options.threads > 0) config.trainer.threads = options.threads;
  const auto profile = profile_steps(config, options.steps);
  if (options.json) {
    document["profile"] = {{"name", config.name},
                           {"steps", profile.steps},
                           {"seconds", profile.seconds},
                           {"tokens_per_second", profile.tokens_per_second},
                           {"parts", seconds_json(profile.parts)},
                           {"operations", seconds_json(profile.operations)}};
    return;
  }
  const auto width = options.tables.columns();
  print_words(fmt::format("{}: {:.2f} ms a step, {:.0f} tokens/s, mean of {} steps\n\n",
                          config.name, 1e3 * profile.seconds, profile.tokens_per_second,
                          profile.steps));
  fmt::print("{}\n", profile_table("part", profile.parts, profile.seconds).text(width));
  fmt::print("{}",
             profile_table("longest operations", profile.operations, profile.seconds).text(width));
}

}  // namespace

int run_verb(const BenchOptions& options) {
  const BenchSubject subject{options.sizes, resolve_device(options.device)};
  print_note(thread_note(options.threads));
  const int threads = set_threads(options.threads);
  auto document = machine_json(threads, subject.device);
  require_input(options.cases.empty() || (options.groups.size() == 1 && options.profile.empty()),
                "--cases: of one group, which has to be named");
  if (options.profile.empty()) {
    require_input(options.assignments.empty(), "--set: goes with --profile");
    run_groups(options, subject, document);
  } else {
    run_profile(options, document);
  }
  if (options.json) {
    fmt::print("{}\n", json_text(document));
  } else {
    print_words(fmt::format("\n{} threads, {}, LibTorch {}\n", threads,
                            document["simd"].get<std::string>(),
                            document["torch"].get<std::string>()));
  }
  return 0;
}

}  // namespace blockwise
