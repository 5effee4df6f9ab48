#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <system_error>

#include "core/base/error.hpp"
#include "core/base/json_fields.hpp"
#include "core/io/safetensors.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/commands/flag_hints.hpp"
#include "experiments/commands/json_text.hpp"
#include "experiments/config/optimizer_section.hpp"
#include "experiments/terminal/terminal.hpp"
#include "optimizers/replay.hpp"
#include "optimizers/rule_set.hpp"

namespace blockwise {
namespace {

// As in training, but for clipping, which other programs do not do unless they are told to.
OptimizerConfig config_of(const ReplayOptions& options) {
  std::vector<Setting> settings = {{"gradient_clip", "0", "the default of replay"},
                                   {"rule", json_text(options.rule), "--rule " + options.rule}};
  for (const auto& assignment : options.assignments) {
    const auto key = assignment.substr(0, assignment.find('='));
    const std::string section = "optimizer.";
    const auto name = key.starts_with(section) ? key.substr(section.size()) : key;
    require_input(name != "rule", "--set {}: the rule is that of --rule, {}", assignment,
                  options.rule);
    settings.push_back({name, assignment.substr(key.size() + 1), "--set " + assignment});
  }
  return read_optimizer_section("--rule " + options.rule, settings);
}

// NAME=VALUE words as {KIND/NAME, VALUE}; a name may hold an equals sign, a value holds none.
void add_descriptions(const std::string& kind, const std::vector<std::string>& words,
                      std::map<std::string, std::string>& said) {
  const auto value = kind == "role" ? "ROLE" : kind == "heads" ? "COUNT" : "NUMBER";
  for (const auto& word : words) {
    const auto equals = word.rfind('=');
    require_input(equals != std::string::npos && equals > 0 && equals + 1 < word.size(),
                  "--{} {}: the form is NAME={}", kind, word, value);
    said[kind + "/" + word.substr(0, equals)] = word.substr(equals + 1);
  }
}

void require_another_file(const ReplayOptions& options) {
  std::error_code none;
  require_input(!std::filesystem::equivalent(options.file, options.output, none),
                "--output {} is the recording itself", options.output);
}

void print_rules(const OptimizerConfig& config, const Recording& recording) {
  const RuleSet rules(config, recording.layout);
  for (const auto& share : rule_shares(rules, recording.layout)) {
    print_words(fmt::format("{}: {} {} of {} elements in all\n", share.rule, share.tensors,
                            share.tensors == 1 ? "parameter" : "parameters", share.parameters));
  }
}

int replay_command(const ReplayOptions& options) {
  auto config = config_of(options);
  std::map<std::string, std::string> said;
  add_descriptions("role", options.roles, said);
  add_descriptions("heads", options.heads, said);
  add_descriptions("layer", options.layers, said);
  require_another_file(options);
  if (const auto folder = std::filesystem::path(options.output).parent_path(); !folder.empty()) {
    std::filesystem::create_directories(folder);
  }
  const auto recording = read_recording(options.file, said);
  print_rules(config, recording);
  const auto outcome = replay(recording, config, static_cast<std::uint64_t>(options.seed));
  write_safetensors(options.output, outcome.tensors,
                    {{"rule", options.rule}, {"optimizer", json_of(config).dump()}});
  if (outcome.skipped > 0) {
    print_note(
        fmt::format("{} of the steps changed nothing: a gradient was not finite", outcome.skipped));
  }
  print_words(fmt::format("{} steps, the last with an update of norm {:.6g}; {}\n",
                          recording.steps.size(), outcome.update_norm, options.output));
  return 0;
}

}  // namespace

int run_verb(const ReplayOptions& options) {
  const FlagTable flags{
      {{"optimizer.rule", "--rule"}}, {{options.output, "--output"}}, /*has_set=*/true};
  return run_with_flag_hints(flags, [&] { return replay_command(options); });
}

}  // namespace blockwise
