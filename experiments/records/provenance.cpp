#include "experiments/records/provenance.hpp"

#include <fmt/chrono.h>
#include <torch/version.h>

#include <ctime>

#include "core/memory/device.hpp"
#include "experiments/build_info.hpp"
#include "optimizers/kernels/segment.hpp"

namespace blockwise {

Provenance make_provenance(const at::Device& device, int threads, std::int64_t seed) {
  Provenance p;
  p.program_version = kVersion;
  p.git_commit = kGitCommit;
  p.compiler = kCompiler;
  p.torch_version = TORCH_VERSION;
  p.hdf5_version = hdf5_version();
  p.simd_target = kernels::simd_target();
  p.device = device_description(device);
  p.started_at = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  p.threads = threads;
  p.seed = seed;
  return p;
}

}  // namespace blockwise
