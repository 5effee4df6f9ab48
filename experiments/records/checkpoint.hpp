// Checkpoints of a run: one folder per step with parameters.safetensors (by parameter name, as any
// framework reads them), optimizer.safetensors (state, NAME/PARAMETER) and checkpoint.json,
// written last, with sizes, hashes, the model and what run it is of. A folder is written as
// step_N.partial and renamed, so a name without .partial is a whole checkpoint. `best` among them
// is a link to the one of the lowest validation loss.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/io/safetensors.hpp"
#include "core/model.hpp"
#include "core/parameters/parameter_store.hpp"
#include "experiments/records/run_identity.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {

// DIR/checkpoints/step_00000100
std::filesystem::path checkpoint_folder(const std::filesystem::path& run, std::int64_t step);

// Which checkpoints stay: the newest, those at multiples of `every` (0: none), and the best one.
struct KeptCheckpoints {
  std::int64_t newest = 2;
  std::int64_t every = 0;
};

// DIR/checkpoints/best
std::filesystem::path best_checkpoint(const std::filesystem::path& run);

// Where that leads to; nothing where there is none.
std::optional<std::int64_t> best_checkpoint_step(const std::filesystem::path& run);

// Lets it lead to the whole checkpoint of `step`, at once or not at all. Throws std::runtime_error
// with the system's reason.
void mark_best_checkpoint(const std::filesystem::path& run, std::int64_t step);

// Steps of the whole checkpoints, ascending.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& run);

// The step in the name of a checkpoint's folder. Throws InputError for another folder.
std::int64_t checkpoint_step(const std::filesystem::path& folder);

// What a checkpoint is made of.
struct CheckpointContent {
  const RunIdentity& identity;
  const ModelSpec& model;
  std::string data_folder;  // where the run's data and their tokenizer lie; empty for made up ones
  const ParameterLayout& layout;
  const Partition& partition;
  std::vector<LateTensor> parameters;  // see parameter_tensors()
  std::vector<LateTensor> state;       // of the optimizer, see state_tensors()
};

// A store's masters, one at a time: of split masters there are values only for the moment.
std::vector<LateTensor> parameter_tensors(const ParameterStore& store);

// An optimizer's saved state, made one tensor at a time: of state in a file no more than one tensor
// is in memory beside what the last one left.
std::vector<LateTensor> state_tensors(const Optimizer& optimizer);

// Writes the state after `step` steps and deletes what `keep` does not keep. Throws
// std::runtime_error when the disk is full; older checkpoints stay as they are.
void write_checkpoint(const std::filesystem::path& run, std::int64_t step,
                      const KeptCheckpoints& keep, const CheckpointContent& content);

// The weights of a checkpoint, in its folder.
inline constexpr const char* kParametersFile = "parameters.safetensors";

// What takes the optimizer's state after so many steps.
using LoadState = std::function<void(std::int64_t steps, const NamedTensors& state)>;

// Loads one, of this folder. Throws InputError naming the file for a damaged or incomplete
// checkpoint, one of a configuration whose hash is none of `hashes` (the first is the run's of
// now), or a tensor that does not fit; says how to resume from the one before.
void load_checkpoint(const std::filesystem::path& folder, std::int64_t step,
                     const std::vector<std::string>& hashes, ParameterStore& store,
                     const LoadState& load_state);

// Of what run the checkpoint is; without a configuration in checkpoints of an earlier version.
// Throws InputError as load_checkpoint() does.
RunIdentity checkpoint_identity(const std::filesystem::path& folder);
std::int64_t marked_step(const std::filesystem::path& folder);
// partition_hash() of the partition that its state is of; empty in those of an earlier version.
std::string checkpoint_partition(const std::filesystem::path& folder);

// The model that a checkpoint is of, with every size as the run resolved it.
struct CheckpointModel {
  std::unique_ptr<ModelSpec> spec;
  std::string data_folder;
};

// Nothing for checkpoints of an earlier version. Throws InputError as load_checkpoint() does.
std::optional<CheckpointModel> checkpoint_model(const std::filesystem::path& folder);

// The parameters alone, of a checkpoint's folder, whatever run it belongs to. Throws InputError as
// load_checkpoint() does.
void load_parameters(const std::filesystem::path& folder, ParameterStore& store);

}  // namespace blockwise
