// One part of the Hessian while it is measured, and what the parts of a measurement share.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "core/io/input_file.hpp"
#include "experiments/curvature/hessian_measurement.hpp"
#include "experiments/curvature/kept_products.hpp"
#include "hessian/guards.hpp"
#include "hessian/probe_vectors.hpp"
#include "hessian/spectral_density.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {

struct MeasurementScope : MeasurementTask {
  const MeasurementSinks& sinks;
  const StopQuery& stop;

  // Where the spectrum is known to end: 0 for Gauss-Newton and Fisher.
  double smallest_possible() const;
  bool stopped() const { return stop && stop(); }
  void tell_product(const std::string& what) const;
  // Of products for `what`; refers to this scope.
  WorkWatch watch(std::string what) const;
  // Of the vectors that are drawn for a purpose.
  std::uint64_t seed(ProbeStream stream) const {
    return probe_seed(static_cast<std::uint64_t>(config.seed), stream);
  }
  // Whether a process left its state there in an earlier attempt.
  bool has_state() const { return !state.empty() && input_exists(state); }
  void forget_state() const;
  // Where the products with a part are kept; empty where no state is.
  std::filesystem::path products_file(std::size_t part) const;
};

// What is there already, of this attempt and of earlier ones at the same step. Blocks, couplings
// and energies by their index.
struct MeasurementProgress {
  MeasurementProgress(const HessianRows& done, std::int64_t step);

  std::set<std::int64_t> parts, couplings, energies;
  std::map<std::pair<std::int64_t, std::int64_t>, ProbeRow> probes;        // by part and probe
  std::map<std::int64_t, std::map<std::int64_t, Quadrature>> quadratures;  // part, then probe
  bool symmetries = false, distances = false;
};

struct PartMeasurement {
  PartMeasurement(const MeasurementScope& scope, std::size_t place);

  const HessianPart& part;
  std::int64_t index;
  PartOperator plain;
  StoppableOperator a;
  KeptProducts kept;  // of `a`, for what has no state of its own that it could save
  OperatorCheck check;
  double product_error = 0.0;  // of an approximate product with a unit vector, L2
  SummaryRow summary;
  HessianRows rows;  // recorded with the summary
  SpectralDensity density;
};

// The part's part of the gradient, [part.size()].
at::Tensor part_gradient(Curvature& curvature, const HessianPart& part);

// The guards, where they are asked for (kCheckProducts products), loss and gradient. The noise is
// what a product gets wrong: what two of the same vector differ by, and of differences their error.
void check_part(const MeasurementScope& scope, PartMeasurement& work);

// Their residuals are by products that are off by `product_error`, which is added.
void add_pairs(HessianRows& rows, std::int64_t step, std::int64_t part,
               const std::vector<RitzPair>& pairs, double product_error);

}  // namespace blockwise
