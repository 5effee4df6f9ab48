// What a measurement of curvature will take: its tables, products and memory.
#pragma once

#include "experiments/config/hessian_config.hpp"
#include "experiments/records/hessian_recorder.hpp"

namespace blockwise {

// Products of the guards of one operator, and of the probes for its diagonal's share.
inline constexpr std::int64_t kCheckProducts = 4;
inline constexpr std::int64_t kDiagonalProducts = 40;

// Lanczos steps per probe of a part.
std::int64_t steps_of(const HessianConfig& config, const HessianPart& part);
// Whether a part has no more eigenvalues than a solver of its own is asked for: then they are
// taken from its matrix.
bool pairs_from_matrix(const HessianConfig& config, const HessianPart& part);
// At most, with those that functions may add: up to kFunctionDepth times as many.
inline constexpr std::int64_t kFunctionDepth = 4;
std::int64_t most_steps_of(const HessianConfig& config, const HessianPart& part);
// Whether the energies of partitions are measured on this tensor.
bool wants_energies(const HessianConfig& config, const Parameter& parameter);

// Whether no part before it has the same tensors: differences find their step once for both.
bool first_of_subset(const std::vector<HessianPart>& parts, std::size_t place);

struct MeasurementPlan {
  HessianTables tables;
  std::int64_t products = 0;          // at most; a Lanczos process may end before its steps
  double gradients = 0;               // about, their cost
  std::int64_t basis_bytes = 0;       // Lanczos vectors and others beside a product's: in memory
  std::int64_t basis_file_bytes = 0;  // and in files
  std::int64_t lanczos_steps = 0;     // per probe of the largest part
};

// Of each of `ranks` processes. Throws InputError where no part matches, or a part does not fit
// what is asked of it.
MeasurementPlan plan_measurement(const HessianConfig& config, const ParameterLayout& layout,
                                 std::int64_t ranks = 1);

}  // namespace blockwise
