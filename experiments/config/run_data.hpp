// The data of a run and the model that reads them, each filled in from the other.
#pragma once

#include <memory>

#include "core/dataset.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise {

// Data that do not say their vocabulary take it from the model that the run starts from
// (model.from).
void assume_vocabulary(RunConfig& config);

// Adapts the model to the shape of the data, which is returned: as the configuration states it, and
// what only the data know is asked of them where they are there.
DataShape adapt_to_stated_data(RunConfig& config);

// Opens the data, with that, in the run's seed, and adapts the model to them. Throws InputError for
// missing or damaged files and where model and data do not fit.
std::shared_ptr<const Dataset> open_data(RunConfig& config);

}  // namespace blockwise
