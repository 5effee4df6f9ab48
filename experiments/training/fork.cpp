#include "experiments/training/fork.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/io/sha256.hpp"
#include "core/partition/partition_file.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/past_run.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

using Differences = std::vector<ConfigDifference>;

Differences below(const Differences& all, const std::string& prefix) {
  Differences found;
  std::ranges::copy_if(all, std::back_inserter(found), [&](const ConfigDifference& difference) {
    return difference.key.starts_with(prefix);
  });
  return found;
}

std::string because(const Differences& differences) {
  return differences.empty() ? "" : " (" + differences_text(differences) + ")";
}

// The state is of a rule and a partition. Two rules may call their tensors alike and mean another
// thing by them.
void require_same_optimizer(const Fork& fork, const WantedRun& wanted,
                            const ParameterLayout& layout, const Differences& differences) {
  const auto place = fork.checkpoint.string();
  const auto rule = below(differences, "optimizer.rule");
  require_input(rule.empty(), "{}: the optimizer's state does not carry over: {}", place,
                differences_text(rule));
  const auto keys = below(differences, "optimizer.partition.");
  const auto there = checkpoint_partition(fork.checkpoint);
  const bool same =
      there.empty()
          ? keys.empty()
          : there == partition_hash(layout, wanted.config.optimizer.make_partition(layout));
  require_input(same, "{}: the optimizer's state does not carry over to another partition{}", place,
                because(keys));
}

std::string sizes_text(const std::vector<std::int64_t>& sizes) {
  std::string text;
  for (const auto size : sizes) text += fmt::format("{}{}", text.empty() ? "" : " x ", size);
  return text;
}

void require_same_tensors(const Fork& fork, const ParameterLayout& layout,
                          const Differences& differences) {
  const auto saved = read_safetensors(fork.checkpoint / kParametersFile);
  const auto model = because(below(differences, "model."));
  for (const auto& parameter : layout.parameters()) {
    const auto found = std::ranges::find_if(
        saved.tensors, [&](const auto& entry) { return entry.first == parameter.name; });
    require_input(found != saved.tensors.end(),
                  "{}: the weights do not carry over: there is no '{}'{}", saved.path,
                  parameter.name, model);
    const auto shape = found->second.sizes().vec();
    require_input(shape == parameter.shape,
                  "{}: the weights do not carry over: '{}' is {} there and {} here{}", saved.path,
                  parameter.name, sizes_text(shape), sizes_text(parameter.shape), model);
  }
  require_input(saved.tensors.size() == layout.parameters().size(),
                "{}: the weights do not carry over: {} tensors there and {} here{}", saved.path,
                saved.tensors.size(), layout.parameters().size(), model);
}

std::int64_t number(const ConfigLines& config, const std::string& key, std::int64_t otherwise) {
  const auto value = config.value(key);
  std::from_chars(value.data(), value.data() + value.size(), otherwise);
  return otherwise;
}

// Examples and tokens that the run has read when it has done so many steps.
void count_read(const RunIdentity& source, RunOrigin& origin) {
  const ConfigLines config(source.config_yaml);
  const auto tokens = number(config, "trainer.global_batch_tokens", 0);
  const auto length = std::max<std::int64_t>(1, number(config, "data.sequence_length", 1));
  const auto before = source.history.origin.value_or(RunOrigin{});
  const auto steps = origin.step - before.step;
  origin.first_example = before.first_example + steps * (tokens / length);
  origin.tokens = before.tokens + steps * tokens;
}

bool same_data(const Fork& fork, const WantedRun& wanted, const Differences& differences) {
  const auto& before = fork.source.history.data;
  for (const auto& [key, there, here] : below(differences, "data.")) {
    const bool same_order =
        key.starts_with("data.validation") || key == "data.test" || key == "data.vocab_size";
    const bool a_path = key == "data.train" && !before.empty();
    if (!same_order && !a_path) return false;
  }
  if (before.empty()) return true;  // the same path, of a run of an earlier version
  return content_difference(files_of(before, "data.train"), files_of(wanted.data, "data.train"))
      .empty();
}

void place_in_data(Fork& fork, const WantedRun& wanted, const Differences& differences) {
  count_read(fork.source, fork.origin);
  if (!same_data(fork, wanted, differences)) {
    fork.origin.first_example = 0;
    fork.notes.emplace_back(
        "the training data are others than that run's, or cut into other "
        "sequences: they are read from their first example on");
    return;
  }
  if (below(differences, "seed").empty()) return;
  fork.notes.emplace_back(fmt::format(
      "another seed is another order of the data: it is read from example {} on, and examples that "
      "were read before may come again",
      fork.origin.first_example));
}

}  // namespace

fs::path find_checkpoint(const fs::path& from) {
  require_input(input_exists(from) || input_exists(from.parent_path() / "checkpoints"),
                "--from {}: there is no such run", from.string());
  // `checkpoints/best` will lead elsewhere one day.
  if (fs::is_symlink(from)) return find_checkpoint(from.parent_path() / fs::read_symlink(from));
  if (input_exists(from / "checkpoint.json")) return from;
  const auto named = from.parent_path() / "checkpoints" / from.filename();
  if (input_exists(named / "checkpoint.json")) return named;
  const auto steps = checkpoint_steps(from);
  require_input(!steps.empty(), "--from {}: neither a checkpoint nor a run with one",
                from.string());
  return checkpoint_folder(from, steps.back());
}

Fork open_fork(const fs::path& from, const WantedRun& wanted, const ParameterLayout& layout) {
  Fork fork;
  fork.checkpoint = find_checkpoint(from);
  fork.source = identity_of_checkpoint(fork.checkpoint);
  fork.origin.path = fork.checkpoint.string();
  fork.origin.config_hash = fork.source.hash;
  fork.origin.sha256 = sha256(read_text_file(fork.checkpoint / "checkpoint.json"));
  fork.origin.step = marked_step(fork.checkpoint);
  const auto differences = config_differences(fork.source.config_yaml, to_yaml(wanted.config));
  require_same_tensors(fork, layout, differences);
  require_same_optimizer(fork, wanted, layout, differences);
  const auto steps = wanted.config.trainer.steps;
  require_input(steps > fork.origin.step,
                "{}: has done {} steps, and trainer.steps is {}: nothing is left to do",
                fork.origin.path, fork.origin.step, steps);
  fork.notes.emplace_back(
      fmt::format("starts from step {} of {}", fork.origin.step, fork.origin.path));
  place_in_data(fork, wanted, differences);
  return fork;
}

Fork reopen_fork(const RunOrigin& origin, const WantedRun& wanted, const ParameterLayout& layout) {
  auto fork = open_fork(origin.path, wanted, layout);
  require_input(fork.origin.sha256 == origin.sha256,
                "{}: is another checkpoint than the one that this run was started from",
                origin.path);
  fork.origin = origin;
  return fork;
}

namespace {

// What was named when the run was started may have been removed since: only its name is left.
void require_gone(const fs::path& folder, const RunOrigin& origin, const std::string& from) {
  const auto named = fs::weakly_canonical(from), was = fs::weakly_canonical(origin.path);
  const auto run = was.parent_path().parent_path();
  require_input(named == was || named == run || named == run / was.filename(),
                "{}: this folder holds a run that was started from {}, not from {}. Give the new "
                "run another `output`",
                folder.string(), origin.path, from);
}

}  // namespace

void require_origin(const fs::path& folder, const RunIdentity& past, const std::string& from) {
  if (from.empty()) return;
  const auto& origin = past.history.origin;
  require_input(
      origin.has_value(),
      "{}: this folder holds a run that was not started from {}. Give the new run another "
      "`output`",
      folder.string(), from);
  if (!input_exists(from)) return require_gone(folder, *origin, from);
  // A run goes on after it was forked, and its newest checkpoint is another one.
  const auto checkpoint = find_checkpoint(from);
  const bool same_run = fs::weakly_canonical(checkpoint).parent_path() ==
                        fs::weakly_canonical(origin->path).parent_path();
  const bool named = input_exists(fs::path(from) / "checkpoint.json");
  require_input(same_run && (!named || marked_step(checkpoint) == origin->step),
                "{}: this folder holds a run that was started from {}, not from {}. Give the new "
                "run another `output`",
                folder.string(), origin->path, from);
}

}  // namespace blockwise
