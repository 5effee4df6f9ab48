// The group /hessian of a run file or a spectrum file: what was measured, as tables that grow.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "experiments/records/measured_objects.hpp"
#include "hessian/hessian_blocks.hpp"

namespace blockwise {

// Where a number was not asked for.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
// An end of an interval, kUnknown where it is infinite.
double known(double end);

// Rows; `step` is the run's, `block` a row of /hessian/blocks.
struct SummaryRow {
  std::int64_t step = 0, block = 0;
  double loss = kUnknown, gradient_norm = kUnknown, noise = kUnknown, asymmetry = kUnknown,
         nonlinearity = kUnknown;
  std::int64_t products = 0;
  double gradients = kUnknown, seconds = kUnknown;
  std::int64_t peak_bytes = 0;
  double trace = kUnknown, trace_error = kUnknown, squared_frobenius = kUnknown,
         squared_frobenius_error = kUnknown, difference_error = kUnknown;
  double trace_low = kUnknown, trace_high = kUnknown, squared_frobenius_low = kUnknown,
         squared_frobenius_high = kUnknown;
  std::int64_t copies_found = 0;
};
struct ProbeRow {
  std::int64_t step = 0, block = 0, probe = 0, lanczos_steps = 0, broke_down = 0;
};
struct QuadratureRow {
  std::int64_t step = 0, block = 0, probe = 0;
  double node = kUnknown, weight = kUnknown, residual = kUnknown;
};
struct EigenvalueRow {
  std::int64_t step = 0, block = 0, index = 0;
  double value = kUnknown, residual_bound = kUnknown, residual = kUnknown;
  std::int64_t converged = -1;
};
struct SymmetryRow {
  std::int64_t step = 0, symmetry = 0;
  double error = kUnknown;
};
struct CouplingRow {
  std::int64_t step = 0, row_block = 0, column_block = 0;
  double squared_norm = kUnknown, squared_norm_error = kUnknown, squared_norm_low = kUnknown,
         squared_norm_high = kUnknown;
};
struct DistanceRow {
  std::int64_t step = 0, row_block = 0, column_block = 0;
  double jensen_shannon = kUnknown, jensen_shannon_error = kUnknown,
         jensen_shannon_half_width = kUnknown;
};
struct PreconditioningRow {
  std::int64_t step = 0, block = 0;
  double tau = kUnknown, tau_error = kUnknown, condition = kUnknown, condition_adam = kUnknown,
         ratio = kUnknown, ratio_error = kUnknown, left_out = kUnknown;
  double tau_half_width = kUnknown, condition_low = kUnknown, condition_high = kUnknown,
         condition_adam_low = kUnknown, condition_adam_high = kUnknown, ratio_low = kUnknown,
         ratio_high = kUnknown;
};
struct EnergyRow {
  std::int64_t step = 0, tensor = 0, rule = 0, blocks = 0;
  double share = kUnknown, share_error = kUnknown, random_share = kUnknown, lift = kUnknown,
         homogeneity = kUnknown, share_half_width = kUnknown;
};

struct FunctionRow {
  std::int64_t step = 0, block = 0, function = 0;
  double value = kUnknown, error = kUnknown;
  std::int64_t probes = 0;
  double quadrature_error = kUnknown, low = kUnknown, high = kUnknown;
  std::int64_t converged = -1;
};

struct HessianRows {
  std::vector<SummaryRow> summary;
  std::vector<ProbeRow> probes;
  std::vector<QuadratureRow> quadrature;
  std::vector<EigenvalueRow> eigenvalues;
  std::vector<SymmetryRow> symmetries;
  std::vector<CouplingRow> couplings;
  std::vector<DistanceRow> distances;
  std::vector<PreconditioningRow> preconditioning;
  std::vector<EnergyRow> energies;
  std::vector<FunctionRow> functions;

  void append(const HessianRows& more);
};

// What does not change, and what the numbers in the rows refer to.
struct HessianTables {
  std::vector<HessianBlock> blocks;
  std::vector<std::string> symmetries;
  std::vector<std::string> rules;
  std::vector<std::string> functions;
  MeasuredExamples examples;
  std::vector<MeasuredPoint> points;
};

// Before start_swmr().
void create_hessian_tables(Hdf5File& file, const ParameterLayout& layout,
                           const HessianTables& tables);
// All of them or none: flushed, then noted as complete.
void append_hessian_rows(Hdf5File& file, const HessianRows& rows);
HessianRows read_hessian_rows(const Hdf5File& file);
// Before start_swmr(): drops what a killed writer left unfinished, which is measured again; the
// first also the rows above `step`, and of a file without the group nothing.
void keep_hessian_rows_up_to(Hdf5File& file, std::int64_t step);
void keep_complete_hessian_rows(Hdf5File& file);

}  // namespace blockwise
