// The rows of /hessian that grow with a measurement, each beside its table: name, unit, text and
// allowed numbers of every column. All else (writing, appending, reading, cutting, checking) is
// derived from what stands here (hdf5_table.hpp): a column is one line in its record and one in its
// table, a table is its record, its table, and a line in HessianRows and in kHessianTables.
#pragma once

#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "experiments/records/hdf5_table.hpp"

namespace blockwise {

// Where a number was not asked for.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// What numbers in the rows refer to: columns of tables that are written once.
struct HessianObjects {
  static constexpr const char* parts = "/hessian/blocks/elements";
  static constexpr const char* symmetries = "/hessian/symmetry_names/name";
  static constexpr const char* rules = "/hessian/rules/name";
  static constexpr const char* functions = "/hessian/function_names/name";
  static constexpr const char* tensors = "/hessian/tensors/name";
};

// Of the run; first in every table, and ascending.
template <typename Row>
constexpr RowColumn<Row> step_column() {
  return {"step", &Row::step, "1", "optimizer steps done", counted()};
}
template <typename Row>
constexpr RowColumn<Row> block_column() {
  return {"block", &Row::part, "1", "row of /hessian/blocks", refers_to(HessianObjects::parts)};
}

// A part: what a measurement of it took, and its single numbers.
struct SummaryRow {
  std::int64_t step = 0, part = 0;
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
template <>
struct Table<SummaryRow> {
  static constexpr const char* group = "/hessian/summary";
  using R = SummaryRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"loss", &R::loss, "nats", "mean loss per target of the measured batches"},
      {"gradient_norm", &R::gradient_norm, "1", "L2 norm of the block's gradient"},
      {"noise", &R::noise, "1",
       "relative difference of one product done twice, at least difference_error"},
      {"asymmetry", &R::asymmetry, "1", "|u.Av - v.Au| / (|u| |Av|)"},
      {"nonlinearity", &R::nonlinearity, "1", "relative error of A(2u - 3v) against its parts"},
      {"products", &R::products, "1", "products with the block", counted()},
      {"gradients", &R::gradients, "1", "their cost in gradients of the whole loss"},
      {"seconds", &R::seconds, "s", "wall time"},
      {"peak_bytes", &R::peak_bytes, "bytes", "highest tensor memory, model and basis included",
       counted()},
      {"trace", &R::trace, "1", "trace"},
      {"trace_error", &R::trace_error, "1", "its standard error; 0: exact"},
      {"squared_frobenius", &R::squared_frobenius, "1", "squared Frobenius norm"},
      {"squared_frobenius_error", &R::squared_frobenius_error, "1", "its standard error; 0: exact"},
      {"difference_error", &R::difference_error, "1",
       "estimated relative error of a product by differences with a random vector; NaN: none was"},
      {"trace_low", &R::trace_low, "1", "95 % interval of the trace, Student's t"},
      {"trace_high", &R::trace_high, "1", "95 % interval of the trace, Student's t"},
      {"squared_frobenius_low", &R::squared_frobenius_low, "1",
       "95 % interval of the norm, Student's t"},
      {"squared_frobenius_high", &R::squared_frobenius_high, "1",
       "95 % interval of the norm, Student's t"},
      {"copies_found", &R::copies_found, "1",
       "1: eigenvalues that repeat are listed as often; 0: one start may have seen them once"}};
};

// One random start of a part.
struct ProbeRow {
  std::int64_t step = 0, part = 0, probe = 0, lanczos_steps = 0, broke_down = 0;
};
template <>
struct Table<ProbeRow> {
  static constexpr const char* group = "/hessian/probes";
  using R = ProbeRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"probe", &R::probe, "1", "number of the random start", counted()},
      {"lanczos_steps", &R::lanczos_steps, "1", "Lanczos steps done", counted()},
      {"broke_down", &R::broke_down, "1", "1: the space is invariant up to noise"}};
};

// A node of a probe's quadrature.
struct QuadratureRow {
  std::int64_t step = 0, part = 0, probe = 0;
  double node = kUnknown, weight = kUnknown, residual = kUnknown;
};
template <>
struct Table<QuadratureRow> {
  static constexpr const char* group = "/hessian/quadrature";
  using R = QuadratureRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"probe", &R::probe, "1", "number of the random start", counted()},
      {"node", &R::node, "1", "Ritz value"},
      {"weight", &R::weight, "1", "weight; those of a probe sum to 1"},
      {"residual", &R::residual, "1", "an eigenvalue lies this near to the node"}};
};

// A pair of a part.
struct EigenvalueRow {
  std::int64_t step = 0, part = 0, index = 0;
  double value = kUnknown, residual_bound = kUnknown, residual = kUnknown;
  std::int64_t converged = -1;
};
template <>
struct Table<EigenvalueRow> {
  static constexpr const char* group = "/hessian/eigenvalues";
  using R = EigenvalueRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"index", &R::index, "1", "0 largest, 1 second largest, -1 smallest, -2 second smallest"},
      {"value", &R::value, "1",
       "eigenvalue where converged, otherwise one bound on it: from inside the spectrum, "
       "of products by differences but for their error"},
      {"residual_bound", &R::residual_bound, "1", "Lanczos's bound on its distance to one"},
      {"residual", &R::residual, "1", "|Au - value u| by one more product"},
      {"converged", &R::converged, "1", "1: its residual is within the tolerance; -1: not known"}};
};

// One of the guards.
struct SymmetryRow {
  std::int64_t step = 0, symmetry = 0;
  double error = kUnknown;
};
template <>
struct Table<SymmetryRow> {
  static constexpr const char* group = "/hessian/symmetries";
  using R = SymmetryRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      {"symmetry", &R::symmetry, "1", "row of /hessian/symmetry_names",
       refers_to(HessianObjects::symmetries)},
      {"error", &R::error, "1", "|H(Dw) + Dg| / (|H(Dw)| + |Dg|), exactly 0"}};
};

struct CouplingRow {
  std::int64_t step = 0, row_block = 0, column_block = 0;
  double squared_norm = kUnknown, squared_norm_error = kUnknown, squared_norm_low = kUnknown,
         squared_norm_high = kUnknown;
};
template <>
struct Table<CouplingRow> {
  static constexpr const char* group = "/hessian/couplings";
  using R = CouplingRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      {"row_block", &R::row_block, "1", "row of /hessian/blocks", refers_to(HessianObjects::parts)},
      {"column_block", &R::column_block, "1", "row of /hessian/blocks",
       refers_to(HessianObjects::parts)},
      {"squared_norm", &R::squared_norm, "1", "squared Frobenius norm of the block between them"},
      {"squared_norm_error", &R::squared_norm_error, "1", "its standard error; 0: exact"},
      {"squared_norm_low", &R::squared_norm_low, "1", "its 95 % interval, Student's t"},
      {"squared_norm_high", &R::squared_norm_high, "1", "its 95 % interval, Student's t"}};
};

struct DistanceRow {
  std::int64_t step = 0, row_block = 0, column_block = 0;
  double jensen_shannon = kUnknown, jensen_shannon_error = kUnknown,
         jensen_shannon_half_width = kUnknown;
};
template <>
struct Table<DistanceRow> {
  static constexpr const char* group = "/hessian/distances";
  using R = DistanceRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      {"row_block", &R::row_block, "1", "row of /hessian/blocks", refers_to(HessianObjects::parts)},
      {"column_block", &R::column_block, "1", "row of /hessian/blocks",
       refers_to(HessianObjects::parts)},
      {"jensen_shannon", &R::jensen_shannon, "nats",
       "Jensen-Shannon divergence of the spectra, 512 cells of asinh(x / median |x|)"},
      {"jensen_shannon_error", &R::jensen_shannon_error, "nats",
       "its standard error, jackknife over probes; 0: exact; NaN: one probe"},
      {"jensen_shannon_half_width", &R::jensen_shannon_half_width, "nats",
       "half of its 95 % interval, Student's t"}};
};

struct PreconditioningRow {
  std::int64_t step = 0, part = 0;
  double tau = kUnknown, tau_error = kUnknown, condition = kUnknown, condition_adam = kUnknown,
         ratio = kUnknown, ratio_error = kUnknown, left_out = kUnknown;
  double tau_half_width = kUnknown, condition_low = kUnknown, condition_high = kUnknown,
         condition_adam_low = kUnknown, condition_adam_high = kUnknown, ratio_low = kUnknown,
         ratio_high = kUnknown;
};
template <>
struct Table<PreconditioningRow> {
  static constexpr const char* group = "/hessian/preconditioning";
  using R = PreconditioningRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"tau", &R::tau, "1", "share of the squared Frobenius norm that is on the diagonal"},
      {"tau_error", &R::tau_error, "1", "its standard error; 0: exact"},
      {"condition", &R::condition, "1",
       "largest over smallest |eigenvalue|; geometric mean of probes"},
      {"condition_adam", &R::condition_adam, "1", "the same of D A D, D = (|g| + eps)^(-1/2)"},
      {"ratio", &R::ratio, "1", "condition_adam / condition"},
      {"ratio_error", &R::ratio_error, "1",
       "its standard error over probes; 0: exact; NaN: one probe"},
      {"left_out", &R::left_out, "1",
       "share of the smallest |eigenvalues| that is left out; 0: exact"},
      {"tau_half_width", &R::tau_half_width, "1", "half of tau's 95 % interval, Student's t"},
      {"condition_low", &R::condition_low, "1",
       "95 % interval of condition: over probes and what the quadrature leaves open"},
      {"condition_high", &R::condition_high, "1", "its upper end; infinite: not bounded"},
      {"condition_adam_low", &R::condition_adam_low, "1", "the same of condition_adam"},
      {"condition_adam_high", &R::condition_adam_high, "1", "the same of condition_adam"},
      {"ratio_low", &R::ratio_low, "1", "the same of ratio"},
      {"ratio_high", &R::ratio_high, "1", "the same of ratio"}};
};

// A tensor under a partition rule.
struct EnergyRow {
  std::int64_t step = 0, tensor = 0, rule = 0, blocks = 0;
  double share = kUnknown, share_error = kUnknown, random_share = kUnknown, lift = kUnknown,
         homogeneity = kUnknown, share_half_width = kUnknown;
};
template <>
struct Table<EnergyRow> {
  static constexpr const char* group = "/hessian/energies";
  using R = EnergyRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      {"tensor", &R::tensor, "1", "row of /hessian/tensors", refers_to(HessianObjects::tensors)},
      {"rule", &R::rule, "1", "row of /hessian/rules", refers_to(HessianObjects::rules)},
      {"blocks", &R::blocks, "1", "blocks that the rule makes of the tensor", counted()},
      {"share", &R::share, "1", "energy inside them, of the tensor's diagonal block"},
      {"share_error", &R::share_error, "1", "its standard error; 0: exact"},
      {"random_share", &R::random_share, "1", "expected of random blocks of equal sizes"},
      {"lift", &R::lift, "1", "(share - random_share) / (1 - random_share)"},
      {"homogeneity", &R::homogeneity, "1",
       "share of the variance of log |diagonal| left inside the blocks"},
      {"share_half_width", &R::share_half_width, "1",
       "half of the share's 95 % interval, Student's t"}};
};

// tr f of a part.
struct FunctionRow {
  std::int64_t step = 0, part = 0, function = 0;
  double value = kUnknown, error = kUnknown;
  std::int64_t probes = 0;
  double quadrature_error = kUnknown, low = kUnknown, high = kUnknown;
  std::int64_t converged = -1;
};
template <>
struct Table<FunctionRow> {
  static constexpr const char* group = "/hessian/functions";
  using R = FunctionRow;
  static constexpr RowColumn<R> columns[] = {
      step_column<R>(),
      block_column<R>(),
      {"function", &R::function, "1", "row of /hessian/function_names",
       refers_to(HessianObjects::functions)},
      {"value", &R::value, "1", "its sum over the eigenvalues"},
      {"error", &R::error, "1", "its standard error over probes; 0: exact; NaN: one probe"},
      {"probes", &R::probes, "1", "random starts behind it; 0: exact", counted()},
      {"quadrature_error", &R::quadrature_error, "1",
       "what the quadratures may be off, in the mean over probes"},
      {"low", &R::low, "1", "95 % interval: Student's t over probes and the quadrature's error"},
      {"high", &R::high, "1", "its upper end"},
      {"converged", &R::converged, "1",
       "1: the quadrature is off by less than the probes, or by 1 %; -1: not known"}};
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

// Every table, in the file's order.
inline constexpr std::tuple kHessianTables = {
    &HessianRows::summary,     &HessianRows::probes,          &HessianRows::quadrature,
    &HessianRows::eigenvalues, &HessianRows::symmetries,      &HessianRows::couplings,
    &HessianRows::distances,   &HessianRows::preconditioning, &HessianRows::energies,
    &HessianRows::functions};

// visit(rows) for every table of `rows`.
template <typename Rows, typename Visit>
void for_each_table(Rows& rows, const Visit& visit) {
  std::apply([&](auto... table) { (visit(rows.*table), ...); }, kHessianTables);
}

template <typename Rows>
using RowOf = typename std::decay_t<Rows>::value_type;

}  // namespace blockwise
