// What the numbers of a measurement refer to, written once into /hessian: parts and the elements
// that they are made of, parameters as Hugging Face has them, heads, examples, models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dataset.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/parameters/parameter_layout.hpp"
#include "hessian/hessian_parts.hpp"

namespace blockwise {

// The examples whose mean loss is measured. Of tokens also what the model reads and what it is
// asked for, example after example; other data have places only.
struct MeasuredExamples {
  struct Example {
    std::int64_t batch = 0;
    ExamplePlace place;
  };
  std::vector<Example> examples;
  std::vector<std::int64_t> inputs, targets;  // tokens; a target of no account is -100
};

// A model of which rows with this `step` are.
struct MeasuredPoint {
  std::int64_t step = 0;
  std::string model;  // a path; empty: a fresh one, or the run itself
};

// /hessian/blocks and /hessian/pieces: part b is its pieces one after the other, each a rectangle
// of a tensor as a matrix [rows, product of the rest], row by row.
void write_parts(Hdf5File& file, const std::vector<HessianPart>& parts);
// /hessian/parameters, /hessian/tensors (their names alone) and /hessian/sections, the parts of
// tensors with one role and heads.
void write_parameters(Hdf5File& file, const ParameterLayout& layout);
// /hessian/examples, /hessian/example_tokens.
void write_examples(Hdf5File& file, const MeasuredExamples& examples);
// /hessian/points.
void write_points(Hdf5File& file, const std::vector<MeasuredPoint>& points);

}  // namespace blockwise
