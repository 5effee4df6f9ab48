#include "experiments/records/past_run.hpp"

#include <unistd.h>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// Damage is what a file of ours can come to; what somebody may not read, a folder, or a file of a
// newer version is none.
bool may_be_damaged(const fs::path& path) {
  std::error_code unknown;
  if (!fs::is_regular_file(path, unknown) || ::access(path.c_str(), R_OK) != 0) return false;
  try {
    const auto file = Hdf5File::open_for_reading(path);
    return file.text_attribute("/", "format") == kRunFormat.name &&
           file.integer_attribute("/", "format_version") == kRunFormat.version;
  } catch (const InputError&) {
    return true;
  }
}

}  // namespace

RunIdentity identity_of_checkpoint(const fs::path& checkpoint) {
  auto identity = checkpoint_identity(checkpoint);
  if (!identity.config_yaml.empty()) return identity;
  const auto run = fs::canonical(checkpoint).parent_path().parent_path();
  identity.config_yaml = read_text_file(run / "config.yaml");
  return identity;
}

std::optional<PastRun> find_past_run(const fs::path& folder) {
  const auto path = folder / "run.h5";
  const auto steps = checkpoint_steps(folder);
  PastRun past;
  if (!steps.empty()) past.checkpoint = steps.back();
  if (!input_exists(path)) {
    if (steps.empty()) return std::nullopt;
    past.lost = fmt::format("{} is not there", path.string());
  } else {
    try {
      past.result = read_run(path);
      past.identity = read_run_identity(path);
      return past;
    } catch (const InputError& error) {
      if (!may_be_damaged(path)) throw;
      past.lost = error.what();
    }
  }
  require_input(!steps.empty(),
                "{}. There is no checkpoint to go on from: move the file away, and the run starts "
                "again from its first step",
                past.lost);
  past.result.reset();
  past.identity = identity_of_checkpoint(checkpoint_folder(folder, steps.back()));
  return past;
}

std::optional<fs::path> keep_damaged_file(const fs::path& folder) {
  const auto path = folder / "run.h5";
  if (!input_exists(path)) return std::nullopt;
  auto aside = folder / "run.damaged.h5";
  for (int i = 2; input_exists(aside); ++i) aside = folder / fmt::format("run.damaged.{}.h5", i);
  fs::rename(path, aside);
  return aside;
}

}  // namespace blockwise
