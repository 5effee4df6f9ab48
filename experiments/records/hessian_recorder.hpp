// The group /hessian of a run file or a spectrum file: what was measured, as tables that grow.
#pragma once

#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"
#include "experiments/records/hessian_rows.hpp"
#include "experiments/records/measured_objects.hpp"
#include "hessian/hessian_parts.hpp"

namespace blockwise {

// An end of an interval, kUnknown where it is infinite.
double known(double end);

// What does not change, and what the numbers in the rows refer to.
struct HessianTables {
  std::vector<HessianPart> parts;
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
