// Every file under configs/ is a test: it parses strictly, and its scaled-down form trains two
// steps.
#include <algorithm>
#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> config_files() {
  std::vector<fs::path> files;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(BLOCKWISE_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Two steps on the small corpus with the file's family, rule, partition and schedule.
void scale_down(YamlDocument& document, const fs::path& folder) {
  const auto config = document.run_config();
  const auto set = [&](const std::string& path, const std::string& value) {
    document.set(path, value, "scale_down");
  };
  set("output", (folder / "run").string());
  for (const auto* key : {"schedule.warmup_steps", "trainer.global_batch_tokens"}) set(key, "0");
  for (const auto* key : {"trainer.steps", "trainer.micro_batch_size"}) set(key, "2");
  // Whole matrices take minutes; tests/python/test_hessian_studies.py makes small ones.
  for (const auto* key : {"hessian.exact", "hessian.distances"}) set(key, "false");
  for (const auto* key : {"hessian.batches", "hessian.batch_size"}) set(key, "1");
  if (config.hessian.lanczos.steps > 5) set("hessian.lanczos.steps", "5");
  if (config.data.kind == "tokens") {
    set("data.train", (folder / "train.bin").string());
    set("data.validation", (folder / "validation.bin").string());
    for (const auto* key : {"data.sequence_length", "data.validation_tokens"}) set(key, "16");
    for (const auto* key : {"data.vocab_size", "model.vocab_size"}) set(key, "0");
  }
  if (config.model.spec->context_length() > 0) {
    for (const auto* key : {"model.n_layer", "model.n_head"}) set(key, "2");
    set("model.n_embd", "16");
  }
  if (config.model.family == "llama") set("model.n_kv_head", "0");
  // Files of partitions and rates are of the model before it was scaled down.
  if (!config.optimizer.partition.file.empty()) set("optimizer.partition.file", "''");
  if (!config.optimizer.block_lr.empty()) {
    set("optimizer.block_lr", "''");
    set("optimizer.learning_rate", "1e-4");  // the file's values are rates, this was their factor
  }
}

}  // namespace

TEST_CASE("Every configuration file parses and its scaled-down form trains", "[config]") {
  REQUIRE(!config_files().empty());
  for (const auto& file : config_files()) {
    INFO(file.string());
    const auto document = YamlDocument::load(file);
    const auto resolved = to_yaml(document.run_config());
    CHECK(to_yaml(YamlDocument::parse(resolved, "resolved").run_config()) == resolved);
    std::vector<MemberPlan> members = {{"alone", "run", 1, {}}};
    if (document.has_sweep()) members = expand(document.sweep_config());
    std::string group;
    for (const auto& member : members) {
      if (member.group == group) continue;  // one member of each group
      group = member.group;
      const TemporaryFolder folder;
      write_small_corpus(folder.path());
      auto own = document.clone();
      for (const auto& [path, value] : member.overrides) own.set(path, value, "member");
      scale_down(own, folder.path());
      const auto outcome = train(resolve(own.run_config()), {[](const StepRecord&) {}});
      CHECK(outcome.state == RunState::finished);
      CHECK(outcome.step == 2);
    }
  }
}

// The recipe in a file's head finds what its groups name with the file's own seed. Fitted to the
// first parameters and batches of that seed, it looks better there than it is.
TEST_CASE("No configuration file judges a partition on the seed that finds it", "[config]") {
  int with_found = 0;
  for (const auto& file : config_files()) {
    INFO(file.string());
    const auto document = YamlDocument::load(file);
    if (!document.has_sweep()) continue;
    const auto base = document.run_config();
    if (base.data.kind == "no_data") continue;  // one problem, whole; a seed changes nothing
    const auto sweep = document.sweep_config();
    const bool found = std::ranges::any_of(sweep.groups, [](const SweepGroup& group) {
      return std::ranges::any_of(group.set, [](const auto& setting) {
        return setting.first == "optimizer.partition.file" || setting.first == "optimizer.block_lr";
      });
    });
    if (!found) continue;
    ++with_found;
    for (const auto* seeds : {&sweep.seeds, &sweep.confirm_seeds}) {
      CHECK(std::ranges::count(*seeds, base.seed) == 0);
    }
  }
  CHECK(with_found >= 3);
}
