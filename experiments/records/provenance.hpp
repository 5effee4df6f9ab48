// Where a run's numbers come from; nothing in it names a host or a path.
#pragma once

#include <c10/core/Device.h>

#include "experiments/records/run_recorder.hpp"

namespace blockwise {

Provenance make_provenance(const at::Device& device, int threads, std::int64_t seed);

}  // namespace blockwise
