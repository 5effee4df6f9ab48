#include "experiments/records/hessian_recorder.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "experiments/records/fixed_columns.hpp"
#include "experiments/records/hdf5_table.hpp"

namespace blockwise {

// Columns that many tables share.
#define BLOCKWISE_STEP \
  { "step", &R::step, "1", "optimizer steps done" }
#define BLOCKWISE_BLOCK \
  { "block", &R::block, "1", "row of /hessian/blocks" }

template <>
struct Table<SummaryRow> {
  static constexpr const char* group = "/hessian/summary";
  using R = SummaryRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
      {"loss", &R::loss, "nats", "mean loss per target of the measured batches"},
      {"gradient_norm", &R::gradient_norm, "1", "L2 norm of the block's gradient"},
      {"noise", &R::noise, "1",
       "relative difference of one product done twice, at least difference_error"},
      {"asymmetry", &R::asymmetry, "1", "|u.Av - v.Au| / (|u| |Av|)"},
      {"nonlinearity", &R::nonlinearity, "1", "relative error of A(2u - 3v) against its parts"},
      {"products", &R::products, "1", "products with the block"},
      {"gradients", &R::gradients, "1", "their cost in gradients of the whole loss"},
      {"seconds", &R::seconds, "s", "wall time"},
      {"peak_bytes", &R::peak_bytes, "bytes", "highest tensor memory, model and basis included"},
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

template <>
struct Table<ProbeRow> {
  static constexpr const char* group = "/hessian/probes";
  using R = ProbeRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
      {"probe", &R::probe, "1", "number of the random start"},
      {"lanczos_steps", &R::lanczos_steps, "1", "Lanczos steps done"},
      {"broke_down", &R::broke_down, "1", "1: the space is invariant up to noise"}};
};

template <>
struct Table<QuadratureRow> {
  static constexpr const char* group = "/hessian/quadrature";
  using R = QuadratureRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
      {"probe", &R::probe, "1", "number of the random start"},
      {"node", &R::node, "1", "Ritz value"},
      {"weight", &R::weight, "1", "weight; those of a probe sum to 1"},
      {"residual", &R::residual, "1", "an eigenvalue lies this near to the node"}};
};

template <>
struct Table<EigenvalueRow> {
  static constexpr const char* group = "/hessian/eigenvalues";
  using R = EigenvalueRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
      {"index", &R::index, "1", "0 largest, 1 second largest, -1 smallest, -2 second smallest"},
      {"value", &R::value, "1",
       "eigenvalue where converged, otherwise one bound on it: from inside the spectrum"},
      {"residual_bound", &R::residual_bound, "1", "Lanczos's bound on its distance to one"},
      {"residual", &R::residual, "1", "|Au - value u| by one more product"},
      {"converged", &R::converged, "1", "1: its residual is within the tolerance; -1: not known"}};
};

template <>
struct Table<SymmetryRow> {
  static constexpr const char* group = "/hessian/symmetries";
  using R = SymmetryRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      {"symmetry", &R::symmetry, "1", "row of /hessian/symmetry_names"},
      {"error", &R::error, "1", "|H(Dw) + Dg| / (|H(Dw)| + |Dg|), exactly 0"}};
};

template <>
struct Table<CouplingRow> {
  static constexpr const char* group = "/hessian/couplings";
  using R = CouplingRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      {"row_block", &R::row_block, "1", "row of /hessian/blocks"},
      {"column_block", &R::column_block, "1", "row of /hessian/blocks"},
      {"squared_norm", &R::squared_norm, "1", "squared Frobenius norm of the block between them"},
      {"squared_norm_error", &R::squared_norm_error, "1", "its standard error; 0: exact"},
      {"squared_norm_low", &R::squared_norm_low, "1", "its 95 % interval, Student's t"},
      {"squared_norm_high", &R::squared_norm_high, "1", "its 95 % interval, Student's t"}};
};

template <>
struct Table<DistanceRow> {
  static constexpr const char* group = "/hessian/distances";
  using R = DistanceRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      {"row_block", &R::row_block, "1", "row of /hessian/blocks"},
      {"column_block", &R::column_block, "1", "row of /hessian/blocks"},
      {"jensen_shannon", &R::jensen_shannon, "nats",
       "Jensen-Shannon divergence of the spectra, 512 cells of asinh(x / median |x|)"},
      {"jensen_shannon_error", &R::jensen_shannon_error, "nats",
       "its standard error, jackknife over probes; 0: exact; NaN: one probe"},
      {"jensen_shannon_half_width", &R::jensen_shannon_half_width, "nats",
       "half of its 95 % interval, Student's t"}};
};

template <>
struct Table<PreconditioningRow> {
  static constexpr const char* group = "/hessian/preconditioning";
  using R = PreconditioningRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
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

template <>
struct Table<EnergyRow> {
  static constexpr const char* group = "/hessian/energies";
  using R = EnergyRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      {"tensor", &R::tensor, "1", "row of /hessian/tensors"},
      {"rule", &R::rule, "1", "row of /hessian/rules"},
      {"blocks", &R::blocks, "1", "blocks that the rule makes of the tensor"},
      {"share", &R::share, "1", "energy inside them, of the tensor's diagonal block"},
      {"share_error", &R::share_error, "1", "its standard error; 0: exact"},
      {"random_share", &R::random_share, "1", "expected of random blocks of equal sizes"},
      {"lift", &R::lift, "1", "(share - random_share) / (1 - random_share)"},
      {"homogeneity", &R::homogeneity, "1",
       "share of the variance of log |diagonal| left inside the blocks"},
      {"share_half_width", &R::share_half_width, "1",
       "half of the share's 95 % interval, Student's t"}};
};

template <>
struct Table<FunctionRow> {
  static constexpr const char* group = "/hessian/functions";
  using R = FunctionRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      BLOCKWISE_BLOCK,
      {"function", &R::function, "1", "row of /hessian/function_names"},
      {"value", &R::value, "1", "its sum over the eigenvalues"},
      {"error", &R::error, "1", "its standard error over probes; 0: exact; NaN: one probe"},
      {"probes", &R::probes, "1", "random starts behind it; 0: exact"},
      {"quadrature_error", &R::quadrature_error, "1",
       "what the quadratures may be off, in the mean over probes"},
      {"low", &R::low, "1", "95 % interval: Student's t over probes and the quadrature's error"},
      {"high", &R::high, "1", "its upper end"},
      {"converged", &R::converged, "1",
       "1: the quadrature is off by less than the probes, or by 1 %; -1: not known"}};
};

namespace {

// After every append: how many rows of each table are complete.
struct CommitRow {
  std::int64_t step = 0, summary = 0, probes = 0, quadrature = 0, eigenvalues = 0, symmetries = 0,
               couplings = 0, distances = 0, preconditioning = 0, energies = 0, functions = 0;
};

}  // namespace

template <>
struct Table<CommitRow> {
  static constexpr const char* group = "/hessian/commits";
  using R = CommitRow;
  static constexpr Column<R> columns[] = {
      BLOCKWISE_STEP,
      {"summary", &R::summary, "1", "complete rows of the table of this name"},
      {"probes", &R::probes, "1", "complete rows of the table of this name"},
      {"quadrature", &R::quadrature, "1", "complete rows of the table of this name"},
      {"eigenvalues", &R::eigenvalues, "1", "complete rows of the table of this name"},
      {"symmetries", &R::symmetries, "1", "complete rows of the table of this name"},
      {"couplings", &R::couplings, "1", "complete rows of the table of this name"},
      {"distances", &R::distances, "1", "complete rows of the table of this name"},
      {"preconditioning", &R::preconditioning, "1", "complete rows of the table of this name"},
      {"energies", &R::energies, "1", "complete rows of the table of this name"},
      {"functions", &R::functions, "1", "complete rows of the table of this name"}};
};

namespace {

// Every table with its rows.
template <typename Rows, typename Visit>
void for_each_table(Rows& rows, const Visit& visit) {
  visit(rows.summary);
  visit(rows.probes);
  visit(rows.quadrature);
  visit(rows.eigenvalues);
  visit(rows.symmetries);
  visit(rows.couplings);
  visit(rows.distances);
  visit(rows.preconditioning);
  visit(rows.energies);
  visit(rows.functions);
}

template <typename Rows>
using RowOf = typename std::decay_t<Rows>::value_type;

void write_names(Hdf5File& file, const std::string& group, const std::vector<std::string>& names,
                 const char* doc) {
  file.create_group(group);
  write_texts(file, group + "/name", names, doc, [](auto& name) { return name; });
}

}  // namespace

double known(double end) { return std::isfinite(end) ? end : kUnknown; }

void HessianRows::append(const HessianRows& more) {
  const auto add = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(summary, more.summary);
  add(probes, more.probes);
  add(quadrature, more.quadrature);
  add(eigenvalues, more.eigenvalues);
  add(symmetries, more.symmetries);
  add(couplings, more.couplings);
  add(distances, more.distances);
  add(preconditioning, more.preconditioning);
  add(energies, more.energies);
  add(functions, more.functions);
}

void create_hessian_tables(Hdf5File& file, const ParameterLayout& layout,
                           const HessianTables& tables) {
  file.create_group("/hessian");
  write_blocks(file, tables.blocks);
  write_parameters(file, layout);
  write_examples(file, tables.examples);
  write_points(file, tables.points);
  write_names(file, "/hessian/symmetry_names", tables.symmetries, "scaling symmetry");
  write_names(file, "/hessian/rules", tables.rules, "partition rule");
  write_names(file, "/hessian/function_names", tables.functions, "function of the spectrum");
  HessianRows none;
  for_each_table(none, [&](auto& rows) { create_table<RowOf<decltype(rows)>>(file); });
  create_table<CommitRow>(file);
}

namespace {

std::int64_t newest_step(const HessianRows& rows) {
  std::int64_t step = 0;
  for_each_table(rows, [&](const auto& table) {
    if (!table.empty()) step = std::max(step, table.back().step);
  });
  return step;
}

CommitRow counts(const Hdf5File& file, std::int64_t step) {
  return {step,
          row_count<SummaryRow>(file),
          row_count<ProbeRow>(file),
          row_count<QuadratureRow>(file),
          row_count<EigenvalueRow>(file),
          row_count<SymmetryRow>(file),
          row_count<CouplingRow>(file),
          row_count<DistanceRow>(file),
          row_count<PreconditioningRow>(file),
          row_count<EnergyRow>(file),
          row_count<FunctionRow>(file)};
}

}  // namespace

void append_hessian_rows(Hdf5File& file, const HessianRows& rows) {
  for_each_table(rows, [&](const auto& table) { append_rows(file, table); });
  file.flush();
  append_rows(file, std::vector<CommitRow>{counts(file, newest_step(rows))});
  file.flush();
}

HessianRows read_hessian_rows(const Hdf5File& file) {
  HessianRows result;
  for_each_table(result, [&](auto& rows) { rows = read_rows<RowOf<decltype(rows)>>(file); });
  return result;
}

void keep_hessian_rows_up_to(Hdf5File& file, std::int64_t step) {
  if (!file.has("/hessian")) return;
  keep_complete_hessian_rows(file);
  HessianRows none;
  for_each_table(none, [&](auto& rows) {
    add_missing_columns<RowOf<decltype(rows)>>(file);
    keep_rows_up_to<RowOf<decltype(rows)>>(file, step);
  });
  keep_rows_up_to<CommitRow>(file, step);
}

void keep_complete_hessian_rows(Hdf5File& file) {
  HessianRows none;
  for_each_table(none, [&](auto& rows) { add_missing_columns<RowOf<decltype(rows)>>(file); });
  const auto commits = read_rows<CommitRow>(file);
  const auto last = commits.empty() ? CommitRow{} : commits.back();
  keep_first_rows<SummaryRow>(file, last.summary);
  keep_first_rows<ProbeRow>(file, last.probes);
  keep_first_rows<QuadratureRow>(file, last.quadrature);
  keep_first_rows<EigenvalueRow>(file, last.eigenvalues);
  keep_first_rows<SymmetryRow>(file, last.symmetries);
  keep_first_rows<CouplingRow>(file, last.couplings);
  keep_first_rows<DistanceRow>(file, last.distances);
  keep_first_rows<PreconditioningRow>(file, last.preconditioning);
  keep_first_rows<EnergyRow>(file, last.energies);
  keep_first_rows<FunctionRow>(file, last.functions);
  keep_first_rows<CommitRow>(file, static_cast<std::int64_t>(commits.size()));
}

}  // namespace blockwise
