#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/bench_report.hpp"
#include "experiments/bench/step_profile.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/command_line.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/provenance.hpp"
#include "experiments/terminal/terminal.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

struct BenchCommandOptions {
  std::vector<std::string> groups;
  BenchSizes sizes;
  BenchLength length;
  std::string profile;
  std::int64_t steps = 10;
  std::vector<std::string> assignments;
  std::int64_t threads = 0;
  std::string device = "cpu";
  bool json = false;
  TableWidth tables;
};

std::vector<std::string> group_names() {
  std::vector<std::string> names;
  for (const auto& group : bench_groups()) names.emplace_back(group.name);
  return names;
}

nlohmann::ordered_json machine_json(int threads, const at::Device& device) {
  const auto provenance = make_provenance(device, threads, 0);
  return {{"program", provenance.program_version},
          {"device", device_description(device)},
          {"torch", provenance.torch_version},
          {"simd", provenance.simd_target},
          {"threads", threads}};
}

void run_groups(const BenchCommandOptions& options, nlohmann::ordered_json& document) {
  for (const auto& named : bench_groups()) {
    const bool wanted =
        options.groups.empty() || std::ranges::count(options.groups, std::string(named.name)) > 0;
    if (!wanted) continue;
    if (named.on_cpu_alone && !options.sizes.device.is_cpu()) {
      require_input(options.groups.empty(), "{}: is timed on the CPU alone", named.name);
      continue;
    }
    fmt::print(stderr, "blockwise: {}: {}\n", named.name, named.doc);
    const auto group = named.make(options.sizes);
    const auto times = time_cases(group, options.length, options.sizes.device);
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

void run_profile(const BenchCommandOptions& options, nlohmann::ordered_json& document) {
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

int bench_command(BenchCommandOptions options) {
  options.sizes.device = resolve_device(options.device);
  print_note(thread_note(options.threads));
  const int threads = set_threads(options.threads);
  auto document = machine_json(threads, options.sizes.device);
  if (options.profile.empty()) {
    require_input(options.assignments.empty(), "--set: goes with --profile");
    run_groups(options, document);
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

}  // namespace

CommandAction add_bench_options(CLI::App& verb) {
  auto options = std::make_shared<BenchCommandOptions>();
  verb.add_option("groups", options->groups,
                  fmt::format("what to time: {}; all without", fmt::join(group_names(), ", ")))
      ->check(CLI::IsMember(group_names()));
  verb.add_option("--profile", options->profile,
                  "instead: where a step of this YAML's run spends its time");
  verb.add_option("--steps", options->steps, "of the profile, after two more")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  add_set_option(verb, options->assignments);
  verb.add_option("--parameters", options->sizes.parameters, "of the optimizers and codecs, about")
      ->check(CLI::Range(std::int64_t{10000}, std::int64_t{4000000000}))
      ->capture_default_str();
  verb.add_option("--models", options->sizes.models, "of the training cases, from the smallest on")
      ->check(CLI::Range(1, 3))
      ->capture_default_str();
  verb.add_option("--repetitions", options->length.repetitions, "of every case; medians are shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb.add_option("--seconds", options->length.seconds, "of a repetition, at least")
      ->check(CLI::Range(1e-4, 1e3))
      ->capture_default_str();
  verb.add_option("--threads", options->threads, "CPU threads; 0: OMP_NUM_THREADS or all cores")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{4096}))
      ->capture_default_str();
  verb.add_option("--device", options->device, "of the groups; a profile has its configuration's")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  verb.add_flag("--json", options->json, "machine-readable");
  options->tables.add_flag(verb);
  return [options] { return bench_command(*options); };
}

}  // namespace blockwise
