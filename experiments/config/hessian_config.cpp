#include "experiments/config/hessian_config.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "core/partition/partition_rules.hpp"
#include "experiments/config/name_pattern.hpp"
#include "hessian/spectral_function.hpp"

namespace blockwise {
namespace {

const std::vector<std::string> kKinds = {"hessian", "gauss_newton", "fisher"};
const std::vector<std::string> kMethods = {"kept_graph", "fresh_graph", "finite_difference",
                                           "central_difference"};
const std::vector<std::string> kReorthogonalisations = {"full", "selective", "none"};
const std::vector<std::string> kEigensolvers = {"lanczos", "thick_restart", "spectra"};
const std::vector<std::string> kOrders = {"sampled", "sequential"};
const std::vector<std::string> kTraceMethods = {"hutchinson", "hutch_plus_plus", "xtrace"};
constexpr std::int64_t kMany = std::int64_t{1} << 30;

// Names stand in the order of their enum.
template <typename Enum>
Enum chosen(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<Enum>(std::ranges::find(names, name) - names.begin());
}

void visit_what(FieldVisitor& v, HessianConfig& c) {
  v.integer({"every", "steps of a run between measurements; 0: none"}, c.every, {0, kMany});
  v.integer_list({"at_steps", "of a run at which it measures, too"}, c.at_steps, {0, kMany});
  v.choice({"kind", "of matrix"}, c.kind, kKinds);
  v.choice({"method",
            "of products: one graph kept for all, a fresh one each, differences of "
            "gradients"},
           c.method, kMethods);
  v.choice({"precision", "of parameters, activations and vectors"}, c.precision, {"fp32", "fp64"});
  v.integer({"batches", "of training examples that make the loss"}, c.batches, {1, kMany});
  v.integer({"batch_size", "examples of each"}, c.batch_size, {1, kMany});
  v.choice({"order",
            "of those examples: as a run samples them, or from the start of the training data on"},
           c.order, kOrders);
  v.text_list({"models",
               "of `spectrum`: runs, checkpoints or Hugging Face folders that are measured one "
               "after the other, into one file; empty: model.from or a fresh one"},
              c.models);
  v.choice({"each", "one block per"}, c.each, block_kind_names());
  v.text_list({"names",
               "only tensors with such a name: shell patterns with * ? [a-z], each of which must "
               "match one; empty: all"},
              c.names);
  v.choice_list({"roles", "only tensors of these; empty: all"}, c.roles, role_names());
  v.integer_list({"layers", "only these, -1 is outside the layers; empty: all"}, c.layers,
                 {-1, kMany});
  v.integer_list({"index", "only the heads, rows or columns with these numbers; empty: all"},
                 c.index, {0, kMany});
}

void visit_lanczos(FieldVisitor& v, HessianConfig& c) {
  v.integer(
      {"lanczos_steps",
       "per probe; 0: no Lanczos; a block of fewer parameters has as many steps as parameters; "
       "functions add steps while their quadrature is not right, up to four times as many"},
      c.lanczos_steps, {0, kMany});
  v.integer({"probes", "random starts per block, for densities with error bars"}, c.probes,
            {1, kMany});
  v.choice({"reorthogonalisation", "full, against converged pairs, or none (densities only)"},
           c.reorthogonalisation, kReorthogonalisations);
  v.integer({"eigenpairs", "reported at each end, each confirmed by one more product"},
            c.eigenpairs, {0, kMany});
  v.integer({"save_every", "Lanczos steps between saved states"}, c.save_every, {1, kMany});
  v.integer({"lockstep", "blocks whose Lanczos runs side by side, sharing graphs; a basis each"},
            c.lockstep, {1, kMany});
}

void visit_eigensolver(FieldVisitor& v, HessianConfig& c) {
  v.choice({"eigensolver",
            "of the pairs: the first probe's Lanczos, or a process of its own in a bounded basis, "
            "ours, which alone finds copies of eigenvalues that repeat, or Spectra's on the host"},
           c.eigensolver, kEigensolvers);
  v.integer({"eigen_basis", "vectors of that process; 0: twice the wanted pairs and 10"},
            c.eigen_basis, {0, kMany});
  v.integer({"eigen_products", "at most, of that process"}, c.eigen_products, {1, kMany});
  v.real({"eigen_tolerance", "residual over norm of a pair that counts as converged"},
         c.eigen_tolerance, {0.0, 1.0, true, false});
  v.integer({"vectors",
             "of `spectrum`: eigenvectors of each block that are written, those of the reported "
             "pairs with the largest |eigenvalue|; at most `eigenpairs`, with exact any number"},
            c.vectors, {0, kMany});
}

constexpr double kNever = 0.0;
constexpr const char* kStops =
    "relative standard error at which sampling stops, of ten samples at least; 0: never";

void visit_estimates(FieldVisitor& v, HessianConfig& c) {
  v.choice_list({"functions", "f of the spectrum whose trace tr f(H) is estimated"}, c.functions,
                spectral_function_names());
  v.real({"damping", "of those functions that have one"}, c.damping, {0.0, 1e30});
  v.real({"function_error", kStops}, c.function_error, {kNever, 1.0});
  v.integer({"trace_products", "per block at most, for trace and Frobenius norm; 0: none"},
            c.trace_products, {0, kMany});
  v.choice({"trace_method", "plain probes, or a range found first and probes for the rest"},
           c.trace_method, kTraceMethods);
  v.real({"trace_error", kStops}, c.trace_error, {kNever, 1.0});
  v.integer({"diagonal_products",
             "per block at most, for its diagonal and the norms of its rows, all written; 0: none"},
            c.diagonal_products, {0, kMany});
  v.real({"diagonal_error", kStops}, c.diagonal_error, {kNever, 1.0});
}

void visit_statistics(FieldVisitor& v, HessianConfig& c) {
  v.integer({"coupling_products",
             "per block, for the norms of all off-diagonal blocks; with exact one per column, "
             "whatever the number; 0: none"},
            c.coupling_products, {0, kMany});
  v.choice_list({"partitions", "rules whose energy inside blocks is measured, tensor by tensor"},
                c.partitions, partition_rule_names());
  v.integer({"code_vectors", "vectors of the sign-coded probes; errors are their spread"},
            c.code_vectors, {2, kMany});
  v.integer({"codes", "sign codes per vector"}, c.codes, {2, kMany});
  v.boolean({"guards", "check the products first: noise, symmetry, linearity, scaling symmetries"},
            c.guards);
  v.boolean({"exact", "each block as a matrix with all its eigenvalues, where it fits"}, c.exact);
  v.boolean({"distances", "Jensen-Shannon distances between the blocks' spectra"}, c.distances);
  v.boolean({"preconditioning", "condition numbers before and after Adam's diagonal"},
            c.preconditioning);
  v.integer({"seed", "of the probes"}, c.seed, {0, std::numeric_limits<std::int64_t>::max()});
}

// Of k pairs at each end the k largest by magnitude are right, of fewer they need not be.
void check_vectors(FieldVisitor& v, const HessianConfig& c) {
  if (c.vectors == 0 || c.exact) return;
  v.check("vectors", c.vectors <= c.eigenpairs ? ""
                                               : fmt::format("is {}, eigenpairs is {} at each end",
                                                             c.vectors, c.eigenpairs));
  if (c.eigensolver != "lanczos") return;
  v.check("vectors", c.lanczos_steps > 0 ? "" : "they need Lanczos steps, lanczos_steps is 0");
  v.check("vectors", c.reorthogonalisation != "none"
                         ? ""
                         : "they need a basis, which reorthogonalisation 'none' does not keep");
}

void check_samples(FieldVisitor& v, const char* field, std::int64_t products, std::int64_t fewest) {
  v.check(field, products == 0 || products >= fewest
                     ? ""
                     : fmt::format("is {}, an error needs at least {} products", products, fewest));
}

std::string suggestions(const ParameterLayout& layout, const std::string& pattern) {
  std::vector<std::string> names;
  for (const auto& block : layout.blocks()) names.push_back(block.name);
  const auto nearest = nearest_names(pattern, names, 3);
  if (nearest.empty()) return fmt::format("the first is '{}'", names.front());
  return fmt::format("near it are '{}'", fmt::join(nearest, "', '"));
}

// Numbers of the tensors that one of the patterns asks for, ascending.
std::vector<std::size_t> named_tensors(const ParameterLayout& layout,
                                       const std::vector<std::string>& patterns) {
  std::set<std::size_t> tensors;
  for (const auto& pattern : patterns) {
    bool found = false;
    for (std::size_t t = 0; t < layout.blocks().size(); ++t) {
      if (!matches_name(layout.blocks()[t], pattern)) continue;
      tensors.insert(t);
      found = true;
    }
    require_input(found, "hessian.names: '{}' is the name of none of the {} tensors; {}", pattern,
                  layout.blocks().size(), suggestions(layout, pattern));
  }
  return {tensors.begin(), tensors.end()};
}

}  // namespace

void HessianConfig::visit(FieldVisitor& v) {
  visit_what(v, *this);
  visit_lanczos(v, *this);
  visit_eigensolver(v, *this);
  visit_estimates(v, *this);
  visit_statistics(v, *this);
  const bool differences = method == "finite_difference" || method == "central_difference";
  v.check("method", kind != "hessian" && differences
                        ? fmt::format("'{}' is for the Hessian only, kind is '{}'", method, kind)
                        : "");
  check_samples(v, "trace_products", trace_products,
                trace_method == "hutch_plus_plus" ? 6
                : trace_method == "xtrace"        ? 4
                                                  : 2);
  check_vectors(v, *this);
  check_samples(v, "coupling_products", coupling_products, 2);
  check_samples(v, "diagonal_products", diagonal_products, 2);
  for (const auto& name : functions) {
    v.check("damping", damping > 0.0 || !spectral_function(name).needs_damping
                           ? ""
                           : fmt::format("'{}' needs one above 0", name));
  }
  v.check("functions", functions.empty() || lanczos_steps > 0 || exact
                           ? ""
                           : "they need Lanczos steps, lanczos_steps is 0");
}

bool matches_name(const ParameterBlock& block, const std::string& pattern) {
  return matches_pattern(pattern, block.name) ||
         std::ranges::any_of(block.tied_names,
                             [&](const auto& name) { return matches_pattern(pattern, name); });
}

bool HessianConfig::due(std::int64_t step) const {
  return (every > 0 && step % every == 0) || std::ranges::count(at_steps, step) > 0;
}

BlockSelection HessianConfig::selection(const ParameterLayout& layout) const {
  BlockSelection selection{block_kind(each), {}, layers, index, named_tensors(layout, names)};
  for (const auto& role : roles) selection.roles.push_back(role_from_name(role));
  return selection;
}

ExampleOrder HessianConfig::example_order() const { return chosen<ExampleOrder>(kOrders, order); }

CurvatureKind HessianConfig::curvature_kind() const { return chosen<CurvatureKind>(kKinds, kind); }

ProductMethod HessianConfig::product_method() const {
  return chosen<ProductMethod>(kMethods, method);
}

Reorthogonalisation HessianConfig::lanczos_reorthogonalisation() const {
  return chosen<Reorthogonalisation>(kReorthogonalisations, reorthogonalisation);
}

EigenpairOptions HessianConfig::eigenpair_options(double noise) const {
  return {eigenpairs,
          SpectrumEnd::both,
          eigen_basis,
          eigen_tolerance,
          noise,
          eigen_products,
          static_cast<std::uint64_t>(seed)};
}

TraceMethod HessianConfig::trace_estimator() const {
  return chosen<TraceMethod>(kTraceMethods, trace_method);
}

at::ScalarType HessianConfig::dtype() const {
  return precision == "fp64" ? at::kDouble : at::kFloat;
}

}  // namespace blockwise
