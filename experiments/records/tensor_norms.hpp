// Norms of every tensor during training: of its gradient, of what the step changed, of its weights;
// and its learning rate, which rates per block, rules of several rates and optimizer.rates change.
//
// In a run file they are /norms: step [rows], gradient, update, weight and rate [rows, tensors],
// and tensor, the names [tensors] in the model's order. Files of before have no rate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "core/parameters/parameter_store.hpp"

namespace blockwise {

// L2 norms by tensor, in the layout's order.
struct TensorNorms {
  std::int64_t step = 0;         // optimizer steps done, this one included
  std::vector<double> gradient;  // of the step's batch, before clipping
  std::vector<double> update;    // ||w_new - w_old||, decay included
  std::vector<double> weight;    // after the step
  std::vector<double> rate;      // Optimizer::learning_rates() of the step; empty in old files
};

// All but the rate, after a step whose gradients the store still holds. `squared_updates`:
// Optimizer's. Changes nothing and draws no random number. Cost: one read of the gradients and one
// of the parameters (8 bytes per parameter), no copies; sums in double, in a fixed order on the
// CPU.
TensorNorms measure_norms(const ParameterStore& store, const std::vector<double>& squared_updates,
                          std::int64_t step);

struct NormTable {
  std::vector<std::string> tensors;
  std::vector<TensorNorms> rows;
};

// Before start_swmr().
void create_norm_table(Hdf5File& file, const ParameterLayout& layout);
bool has_norm_table(const Hdf5File& file);
// Drops the rows above `step`. Before start_swmr().
void keep_norms_up_to(Hdf5File& file, std::int64_t step);
void append_norms(Hdf5File& file, const std::vector<TensorNorms>& rows);
// The rows that all of its columns have; nothing in a file without the table. Throws InputError
// where the columns are not as many as the names.
NormTable read_norms(const Hdf5File& file);

}  // namespace blockwise
