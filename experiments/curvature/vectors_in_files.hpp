// Where the vectors of a measurement are, as `hessian.vectors_in` says.
#pragma once

#include <memory>

#include "core/memory/tensors_in_file.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {

// While it lives, large tensors are in files in the configuration's output folder; to be made after
// the model, which stays in memory. Null where vectors are in memory.
std::unique_ptr<TensorsInFile> vectors_in_files(const RunConfig& config,
                                                const ParameterLayout& layout);

// Throws InputError where files are asked for beside a model on another device than the CPU, or the
// disk of the output folder has no room for so many bytes.
void require_room_for_vectors(const RunConfig& config, at::Device device, std::int64_t bytes);

}  // namespace blockwise
