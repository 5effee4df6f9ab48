// `blockwise spectrum`: one measurement of a model's curvature, into a file of its own.
#pragma once

#include <functional>
#include <string>

#include "core/base/stop_query.hpp"
#include "core/parallel/ranks.hpp"
#include "experiments/config/run_config.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/records/run_recorder.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

// What it will take. Bytes are of tensors on the device.
struct SpectrumPlan {
  MeasurementPlan measurement;
  ProductMemory memory;
  std::int64_t peak_bytes = 0;  // with the basis, in memory
  std::int64_t file_bytes = 0;  // the same, in files
};

struct SpectrumOutcome {
  RunState state = RunState::running;
  std::string file;
  HessianRows rows;
  HessianTables tables;
};

// The configuration with what the data says filled in. The model is fresh, or that of model.from;
// or those of hessian.models, one after the other, all of one layout.
struct ResolvedSpectrum {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  SpectrumPlan plan;  // of one point
  std::vector<MeasuredPoint> points;
  std::vector<std::string> models;  // of the points, in words: "step 400 of the run runs/x"
};

// Throws InputError where the batches do not exist, no part matches, a matrix would be too large,
// models have different tensors, or the plan does not fit into the memory that is available. ranks:
// processes that will measure together.
ResolvedSpectrum resolve_spectrum(RunConfig config, std::int64_t ranks = 1);

// After every product: products done, and what for.
using ProductObserver = std::function<void(std::int64_t, const std::string&)>;

struct SpectrumHooks {
  ProductObserver product;
  StopQuery stop = never_stop;              // asked before every product
  std::function<std::string()> stopped_by;  // what `stop` saw, "SIGTERM"; called where it said true
};

// Writes DIR/spectrum.h5 in the configuration's output folder. A folder with a measurement of the
// same configuration is continued, with the same bits; a finished one is left as it is. A stop
// ends it as interrupted, before its next product. Throws InputError for a folder of another
// configuration.
//
// ranks: processes that share each product's batches, each of which calls this; rank 0 has hooks
// and folder, and the outcome of the others is its state alone.
SpectrumOutcome measure_spectrum(const ResolvedSpectrum& spectrum, const SpectrumHooks& hooks,
                                 const Ranks& ranks = Ranks());

}  // namespace blockwise
