// One measurement of the curvature at a model's present parameters, as the section `hessian` asks
// for it: guards, then part by part Lanczos probes, pairs, traces, matrices; then what relates
// parts to each other and to partitions.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/base/stop_query.hpp"
#include "core/curvature.hpp"
#include "experiments/config/hessian_config.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

// Where results go, part by part; called in the order of the work.
struct MeasurementSinks {
  std::function<void(const HessianRows&)> rows;
  std::function<void(std::size_t part, const at::Tensor& matrix)> matrix;  // exact only
  std::function<void(std::size_t part, const DiagonalAndRowNorms&)> vectors;
  // After every product: what it was for. For progress only.
  std::function<void(const std::string&)> product;
  std::function<std::int64_t()> peak_bytes;  // of tensors so far
  // The pairs with the largest |eigenvalue|, before the rows of their part.
  std::function<void(std::size_t part, const std::vector<RitzPair>&)> eigenvectors;
};

struct MeasurementTask {
  const HessianConfig& config;
  const HessianTables& tables;  // of plan_measurement()
  Curvature& curvature;
  std::int64_t step;
  std::filesystem::path state = {};       // a file for running processes; empty: none
  const BasisKeepers* keepers = nullptr;  // other ranks that keep Lanczos vectors, too
};

// Measures. `done` are rows of an earlier attempt at the same step, which are not computed again;
// processes whose state is there are continued. `stop` is asked before every product and between
// parts. Returns false where it was stopped; calling it again goes on and gives the same bits.
bool measure_hessian(const MeasurementTask& task, const HessianRows& done,
                     const MeasurementSinks& sinks, const StopQuery& stop);

}  // namespace blockwise
