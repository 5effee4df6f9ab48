// The YAML section `hessian`: what is measured of the loss's curvature, at one point or every k
// steps of a run.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"
#include "core/dataset.hpp"
#include "hessian/eigenpairs.hpp"
#include "hessian/hessian_blocks.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

struct HessianConfig {
  std::int64_t every = 0;
  std::vector<std::int64_t> at_steps;
  std::string kind = "hessian";
  std::string method = "kept_graph";
  std::string precision = "fp32";
  std::int64_t batches = 1;
  std::int64_t batch_size = 8;
  std::string order = "sampled";
  std::vector<std::string> models;
  std::string each = "model";
  std::vector<std::string> names;
  std::vector<std::string> roles;
  std::vector<std::int64_t> layers;
  std::vector<std::int64_t> index;
  std::int64_t lanczos_steps = 80;
  std::int64_t probes = 1;
  std::string reorthogonalisation = "full";
  std::int64_t eigenpairs = 5;
  std::string eigensolver = "lanczos";
  std::int64_t eigen_basis = 0;
  std::int64_t eigen_products = 300;
  double eigen_tolerance = 1e-4;
  std::int64_t vectors = 0;
  std::vector<std::string> functions;
  double damping = 1e-3;
  double function_error = 0.0;
  std::int64_t trace_products = 0;
  std::string trace_method = "hutchinson";
  double trace_error = 0.0;
  std::int64_t diagonal_products = 0;
  double diagonal_error = 0.0;
  std::int64_t save_every = 20;
  std::int64_t lockstep = 1;
  std::int64_t coupling_products = 0;
  std::int64_t code_vectors = 4;
  std::int64_t codes = 4;
  std::vector<std::string> partitions;
  bool guards = true;
  bool exact = false;
  bool distances = false;
  bool preconditioning = false;
  std::int64_t seed = 0;

  void visit(FieldVisitor& v);

  // Whether a run measures at all, and after this step.
  bool while_training() const { return every > 0 || !at_steps.empty(); }
  bool due(std::int64_t step) const;
  // Throws InputError where no tensor has a name that one of `names` asks for.
  BlockSelection selection(const ParameterLayout& layout) const;
  ExampleOrder example_order() const;
  CurvatureKind curvature_kind() const;
  ProductMethod product_method() const;
  Reorthogonalisation lanczos_reorthogonalisation() const;
  EigenpairOptions eigenpair_options(double noise) const;
  TraceMethod trace_estimator() const;
  at::ScalarType dtype() const;
};

// Whether the tensor's name, or a tied one, matches (experiments/config/name_pattern.hpp).
bool matches_name(const ParameterBlock& block, const std::string& pattern);

}  // namespace blockwise
