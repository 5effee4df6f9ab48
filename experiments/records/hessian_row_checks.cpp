#include "experiments/records/hessian_row_checks.hpp"

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kAnyCount = std::numeric_limits<std::int64_t>::max();

class RowChecker {
 public:
  RowChecker(const HessianExtents& extents, const std::string& file)
      : extents_(extents), file_(file) {}

  void check(const HessianRows& rows) const {
    steps(rows);
    blocks(rows);
    relations(rows);
    counts(rows);
  }

 private:
  template <typename Row>
  void within(const char* column, const std::vector<Row>& rows, std::int64_t Row::*field,
              std::int64_t end) const {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto value = rows[i].*field;
      require_input(value >= 0 && value < end, "{}: /hessian/{}: row {} is {}, allowed are 0 to {}",
                    file_, column, i, value, end - 1);
    }
  }

  void steps(const HessianRows& r) const {
    within("summary/step", r.summary, &SummaryRow::step, kAnyCount);
    within("probes/step", r.probes, &ProbeRow::step, kAnyCount);
    within("quadrature/step", r.quadrature, &QuadratureRow::step, kAnyCount);
    within("eigenvalues/step", r.eigenvalues, &EigenvalueRow::step, kAnyCount);
    within("symmetries/step", r.symmetries, &SymmetryRow::step, kAnyCount);
    within("couplings/step", r.couplings, &CouplingRow::step, kAnyCount);
    within("distances/step", r.distances, &DistanceRow::step, kAnyCount);
    within("preconditioning/step", r.preconditioning, &PreconditioningRow::step, kAnyCount);
    within("energies/step", r.energies, &EnergyRow::step, kAnyCount);
    within("functions/step", r.functions, &FunctionRow::step, kAnyCount);
  }

  void blocks(const HessianRows& r) const {
    const auto end = extents_.blocks;
    within("summary/block", r.summary, &SummaryRow::block, end);
    within("probes/block", r.probes, &ProbeRow::block, end);
    within("quadrature/block", r.quadrature, &QuadratureRow::block, end);
    within("eigenvalues/block", r.eigenvalues, &EigenvalueRow::block, end);
    within("preconditioning/block", r.preconditioning, &PreconditioningRow::block, end);
    within("functions/block", r.functions, &FunctionRow::block, end);
  }

  void relations(const HessianRows& r) const {
    const auto blocks = extents_.blocks;
    within("symmetries/symmetry", r.symmetries, &SymmetryRow::symmetry, extents_.symmetries);
    within("couplings/row_block", r.couplings, &CouplingRow::row_block, blocks);
    within("couplings/column_block", r.couplings, &CouplingRow::column_block, blocks);
    within("distances/row_block", r.distances, &DistanceRow::row_block, blocks);
    within("distances/column_block", r.distances, &DistanceRow::column_block, blocks);
    within("energies/tensor", r.energies, &EnergyRow::tensor, extents_.tensors);
    within("energies/rule", r.energies, &EnergyRow::rule, extents_.rules);
    within("functions/function", r.functions, &FunctionRow::function, extents_.functions);
  }

  void counts(const HessianRows& r) const {
    within("summary/products", r.summary, &SummaryRow::products, kAnyCount);
    within("summary/peak_bytes", r.summary, &SummaryRow::peak_bytes, kAnyCount);
    within("probes/probe", r.probes, &ProbeRow::probe, kAnyCount);
    within("probes/lanczos_steps", r.probes, &ProbeRow::lanczos_steps, kAnyCount);
    within("quadrature/probe", r.quadrature, &QuadratureRow::probe, kAnyCount);
    within("energies/blocks", r.energies, &EnergyRow::blocks, kAnyCount);
    within("functions/probes", r.functions, &FunctionRow::probes, kAnyCount);
  }

  const HessianExtents& extents_;
  const std::string& file_;
};

}  // namespace

HessianExtents extents_of(const HessianTables& tables, const ParameterLayout& layout) {
  return {std::ssize(tables.blocks), std::ssize(tables.symmetries), std::ssize(tables.rules),
          std::ssize(tables.functions), std::ssize(layout.blocks())};
}

HessianExtents read_hessian_extents(const Hdf5File& file) {
  const auto rows = [&](const std::string& path) { return file.has(path) ? file.rows(path) : 0; };
  return {rows("/hessian/blocks/elements"), rows("/hessian/symmetry_names/name"),
          rows("/hessian/rules/name"), rows("/hessian/function_names/name"),
          rows("/hessian/tensors/name")};
}

void check_hessian_rows(const HessianRows& rows, const HessianExtents& extents,
                        const std::string& file) {
  RowChecker(extents, file).check(rows);
}

}  // namespace blockwise
