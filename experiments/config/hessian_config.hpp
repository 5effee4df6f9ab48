// The YAML section `hessian`: what is measured of the loss's curvature, at one point or every k
// steps of a run.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"
#include "core/dataset.hpp"
#include "hessian/eigenpairs.hpp"
#include "hessian/hessian_parts.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

// Sections of the section, each a purpose. Keys of before, "hessian.lanczos_steps", stay readable
// (former_keys.hpp).

// Which parts of the model are looked at by themselves.
struct HessianPartsConfig {
  std::string each = "model";
  std::vector<std::string> names;
  std::vector<std::string> roles;
  std::vector<std::int64_t> layers;
  std::vector<std::int64_t> index;
  void visit(FieldVisitor& v);
};
// Lanczos from random starts.
struct LanczosConfig {
  std::int64_t steps = 80;
  std::int64_t probes = 1;
  std::string reorthogonalisation = "full";
  std::int64_t save_every = 20;
  std::int64_t lockstep = 1;
  void visit(FieldVisitor& v);
};
// Eigenpairs at the ends of the spectrum.
struct PairsConfig {
  std::int64_t count = 5;
  std::string solver = "lanczos";
  std::int64_t basis = 0;
  std::int64_t products = 300;
  double tolerance = 1e-4;
  std::int64_t vectors = 0;
  void visit(FieldVisitor& v);
};
// Traces of functions of the spectrum.
struct SpectralConfig {
  std::vector<std::string> functions;
  double damping = 1e-3;
  double error = 0.0;
  void visit(FieldVisitor& v);
};
struct TraceConfig {
  std::int64_t products = 0;
  std::string method = "hutchinson";
  double error = 0.0;
  void visit(FieldVisitor& v);
};
struct DiagonalConfig {
  std::int64_t products = 0;
  double error = 0.0;
  void visit(FieldVisitor& v);
};
struct CouplingsConfig {
  std::int64_t products = 0;
  void visit(FieldVisitor& v);
};
// Energy inside the blocks of partitions.
struct EnergiesConfig {
  std::vector<std::string> partitions;
  std::int64_t code_vectors = 4;
  std::int64_t codes = 4;
  void visit(FieldVisitor& v);
};

struct HessianConfig {
  std::int64_t every = 0;
  std::vector<std::int64_t> at_steps;
  std::string kind = "hessian";
  std::string method = "kept_graph";
  std::string precision = "fp32";
  std::string vectors_in = "memory";
  std::int64_t batches = 1;
  std::int64_t batch_size = 8;
  std::string order = "sampled";
  std::vector<std::string> models;
  HessianPartsConfig parts;
  LanczosConfig lanczos;
  PairsConfig pairs;
  SpectralConfig spectral;
  TraceConfig trace;
  DiagonalConfig diagonal;
  CouplingsConfig couplings;
  EnergiesConfig energies;
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
  PartSelection selection(const ParameterLayout& layout) const;
  ExampleOrder example_order() const;
  CurvatureKind curvature_kind() const;
  ProductMethod product_method() const;
  Reorthogonalisation lanczos_reorthogonalisation() const;
  EigenpairOptions eigenpair_options(double noise) const;
  TraceMethod trace_estimator() const;
  at::ScalarType dtype() const;
  // Tensors of at least so many bytes, of a model of so many parameters, are in files: vectors over
  // half of it and more, and what is larger. ProductKind::kNoFiles: none.
  std::int64_t files_from(std::int64_t parameters) const;
};

// Whether the tensor's name, or a tied one, matches (experiments/config/name_pattern.hpp).
bool matches_name(const Parameter& parameter, const std::string& pattern);

}  // namespace blockwise
