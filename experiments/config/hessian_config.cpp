#include "experiments/config/hessian_config.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "core/partition/partition_rules.hpp"
#include "experiments/config/name_pattern.hpp"
#include "experiments/config/visit_section.hpp"
#include "hessian/product_memory.hpp"
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

// Names stand in the order of their enum.
template <typename Enum>
Enum chosen(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<Enum>(std::ranges::find(names, name) - names.begin());
}

constexpr double kNever = 0.0;
constexpr const char* kStops =
    "relative standard error at which sampling stops, of ten samples at least; 0: never";

void visit_what(FieldVisitor& v, HessianConfig& c) {
  v.integer({"every", "steps of a run between measurements; 0: none"}, c.every, {0, kLargeCount});
  v.integer_list({"at_steps", "of a run at which it measures, too"}, c.at_steps, {0, kLargeCount});
  v.choice({"kind", "of matrix"}, c.kind, kKinds);
  v.choice({"method",
            "of products: one graph kept for all, a fresh one each, differences of "
            "gradients"},
           c.method, kMethods);
  v.choice({"precision", "of parameters, activations and vectors"}, c.precision, {"fp32", "fp64"});
  v.choice({"vectors_in",
            "memory, or files in the output's folder for vectors over half of the model and more, "
            "which the system reads back as it needs them"},
           c.vectors_in, {"memory", "file"});
  v.integer({"batches", "of training examples that make the loss"}, c.batches, {1, kLargeCount});
  v.integer({"batch_size", "examples of each"}, c.batch_size, {1, kLargeCount});
  v.choice({"order",
            "of those examples: as a run samples them, or from the start of the training data on"},
           c.order, kOrders);
  v.text_list({"models",
               "of `spectrum`: runs, checkpoints or Hugging Face folders that are measured one "
               "after the other, into one file; empty: model.from or a fresh one"},
              c.models);
}

void visit_sections(FieldVisitor& v, HessianConfig& c) {
  visit_section(v, {"parts", "of the model that are looked at"}, c.parts);
  visit_section(v, {"lanczos", "from random starts, for densities"}, c.lanczos);
  visit_section(v, {"pairs", "at the ends of the spectrum"}, c.pairs);
  visit_section(v, {"spectral", "traces of functions of the spectrum"}, c.spectral);
  visit_section(v, {"trace", "and Frobenius norm"}, c.trace);
  visit_section(v, {"diagonal", "and the norms of the rows"}, c.diagonal);
  visit_section(v, {"couplings", "norms of the blocks off the diagonal"}, c.couplings);
  visit_section(v, {"energies", "inside the blocks of partitions"}, c.energies);
}

void visit_switches(FieldVisitor& v, HessianConfig& c) {
  v.boolean({"guards", "check the products first: noise, symmetry, linearity, scaling symmetries"},
            c.guards);
  v.boolean({"exact", "each part as a matrix with all its eigenvalues, where it fits"}, c.exact);
  v.boolean({"distances", "Jensen-Shannon distances between the parts' spectra"}, c.distances);
  v.boolean({"preconditioning", "condition numbers before and after Adam's diagonal"},
            c.preconditioning);
  v.integer({"seed", "of the probes"}, c.seed, {0, std::numeric_limits<std::int64_t>::max()});
}

// Of k pairs at each end the k largest by magnitude are right, of fewer they need not be.
void check_vectors(FieldVisitor& v, const HessianConfig& c) {
  const auto vectors = c.pairs.vectors;
  if (vectors == 0 || c.exact) return;
  v.check("pairs.vectors",
          vectors <= c.pairs.count
              ? ""
              : fmt::format("is {}, pairs.count is {} at each end", vectors, c.pairs.count));
  if (c.pairs.solver != "lanczos") return;
  v.check("pairs.vectors",
          c.lanczos.steps > 0 ? "" : "they need Lanczos steps, lanczos.steps is 0");
  v.check("pairs.vectors",
          c.lanczos.reorthogonalisation != "none"
              ? ""
              : "they need a basis, which lanczos.reorthogonalisation 'none' does not keep");
}

void check_samples(FieldVisitor& v, const char* field, std::int64_t products, std::int64_t fewest) {
  v.check(field, products == 0 || products >= fewest
                     ? ""
                     : fmt::format("is {}, an error needs at least {} products", products, fewest));
}

std::string suggestions(const ParameterLayout& layout, const std::string& pattern) {
  std::vector<std::string> names;
  for (const auto& parameter : layout.parameters()) names.push_back(parameter.name);
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
    for (std::size_t t = 0; t < layout.parameters().size(); ++t) {
      if (!matches_name(layout.parameters()[t], pattern)) continue;
      tensors.insert(t);
      found = true;
    }
    require_input(found, "hessian.parts.names: '{}' is the name of none of the {} tensors; {}",
                  pattern, layout.parameters().size(), suggestions(layout, pattern));
  }
  return {tensors.begin(), tensors.end()};
}

}  // namespace

void HessianPartsConfig::visit(FieldVisitor& v) {
  v.choice({"each", "one part per"}, each, part_kind_names());
  v.text_list({"names",
               "only tensors with such a name: shell patterns with * ? [a-z], each of which must "
               "match one; empty: all"},
              names);
  v.choice_list({"roles", "only tensors of these; empty: all"}, roles, role_names());
  v.integer_list({"layers", "only these, -1 is outside the layers; empty: all"}, layers,
                 {-1, kLargeCount});
  v.integer_list({"index", "only the heads, rows or columns with these numbers; empty: all"}, index,
                 {0, kLargeCount});
}

void LanczosConfig::visit(FieldVisitor& v) {
  v.integer(
      {"steps",
       "per probe; 0: no Lanczos; a part of fewer parameters has as many steps as parameters; "
       "functions add steps while their quadrature is not right, up to four times as many"},
      steps, {0, kLargeCount});
  v.integer({"probes", "random starts per part, for densities with error bars"}, probes,
            {1, kLargeCount});
  v.choice({"reorthogonalisation", "full, against converged pairs, or none (densities only)"},
           reorthogonalisation, kReorthogonalisations);
  v.integer({"save_every", "Lanczos steps between saved states"}, save_every, {1, kLargeCount});
  v.integer({"lockstep", "parts whose Lanczos runs side by side, sharing graphs; a basis each"},
            lockstep, {1, kLargeCount});
}

void PairsConfig::visit(FieldVisitor& v) {
  v.integer({"count", "reported at each end, each confirmed by one more product"}, count,
            {0, kLargeCount});
  v.choice({"solver",
            "of the pairs: the first probe's Lanczos, or a process of its own in a bounded basis, "
            "ours, which alone finds copies of eigenvalues that repeat, or Spectra's on the host"},
           solver, kEigensolvers);
  v.integer({"basis", "vectors of that process; 0: twice the wanted pairs and 10"}, basis,
            {0, kLargeCount});
  v.integer({"products", "at most, of that process"}, products, {1, kLargeCount});
  v.real({"tolerance", "residual over norm of a pair that counts as converged"}, tolerance,
         {0.0, 1.0, true, false});
  v.integer({"vectors",
             "of `spectrum`: eigenvectors of each part that are written, those of the reported "
             "pairs with the largest |eigenvalue|; at most `count`, with exact any number"},
            vectors, {0, kLargeCount});
}

void SpectralConfig::visit(FieldVisitor& v) {
  v.choice_list({"functions", "f of the spectrum whose trace tr f(H) is estimated"}, functions,
                spectral_function_names());
  v.real({"damping", "of those functions that have one"}, damping, {0.0, 1e30});
  v.real({"error", kStops}, error, {kNever, 1.0});
}

void TraceConfig::visit(FieldVisitor& v) {
  v.integer({"products", "per part at most, for trace and Frobenius norm; 0: none"}, products,
            {0, kLargeCount});
  v.choice({"method", "plain probes, or a range found first and probes for the rest"}, method,
           kTraceMethods);
  v.real({"error", kStops}, error, {kNever, 1.0});
}

void DiagonalConfig::visit(FieldVisitor& v) {
  v.integer({"products",
             "of `spectrum`: per part at most, for its diagonal and the norms of its rows, all "
             "written; 0: none"},
            products, {0, kLargeCount});
  v.real({"error", kStops}, error, {kNever, 1.0});
}

void CouplingsConfig::visit(FieldVisitor& v) {
  v.integer({"products",
             "per part, for the norms of all off-diagonal blocks; with exact one per column, "
             "whatever the number; 0: none"},
            products, {0, kLargeCount});
}

void EnergiesConfig::visit(FieldVisitor& v) {
  v.choice_list({"partitions", "rules whose energy inside blocks is measured, tensor by tensor"},
                partitions, partition_rule_names());
  v.integer({"code_vectors", "vectors of the sign-coded probes; errors are their spread"},
            code_vectors, {2, kLargeCount});
  v.integer({"codes", "sign codes per vector"}, codes, {2, kLargeCount});
}

void HessianConfig::visit(FieldVisitor& v) {
  visit_what(v, *this);
  visit_sections(v, *this);
  visit_switches(v, *this);
  const bool differences = method == "finite_difference" || method == "central_difference";
  v.check("method", kind != "hessian" && differences
                        ? fmt::format("'{}' is for the Hessian only, kind is '{}'", method, kind)
                        : "");
  check_samples(v, "trace.products", trace.products,
                trace.method == "hutch_plus_plus" ? 6
                : trace.method == "xtrace"        ? 4
                                                  : 2);
  check_vectors(v, *this);
  check_samples(v, "couplings.products", couplings.products, 2);
  check_samples(v, "diagonal.products", diagonal.products, 2);
  for (const auto& name : spectral.functions) {
    v.check("spectral.damping", spectral.damping > 0.0 || !spectral_function(name).needs_damping
                                    ? ""
                                    : fmt::format("'{}' needs one above 0", name));
  }
  const std::string without_spectra =
      lanczos.steps > 0 || exact ? "" : "needs Lanczos steps, lanczos.steps is 0";
  v.check("spectral.functions", spectral.functions.empty() ? "" : without_spectra);
  v.check("preconditioning", preconditioning ? without_spectra : "");
  v.check("distances", distances ? without_spectra : "");
}

bool matches_name(const Parameter& parameter, const std::string& pattern) {
  return matches_pattern(pattern, parameter.name) ||
         std::ranges::any_of(parameter.tied_names,
                             [&](const auto& name) { return matches_pattern(pattern, name); });
}

bool HessianConfig::due(std::int64_t step) const {
  return (every > 0 && step % every == 0) || std::ranges::count(at_steps, step) > 0;
}

PartSelection HessianConfig::selection(const ParameterLayout& layout) const {
  PartSelection selection{
      part_kind(parts.each), {}, parts.layers, parts.index, named_tensors(layout, parts.names)};
  for (const auto& role : parts.roles) selection.roles.push_back(role_from_name(role));
  return selection;
}

ExampleOrder HessianConfig::example_order() const { return chosen<ExampleOrder>(kOrders, order); }

CurvatureKind HessianConfig::curvature_kind() const { return chosen<CurvatureKind>(kKinds, kind); }

ProductMethod HessianConfig::product_method() const {
  return chosen<ProductMethod>(kMethods, method);
}

Reorthogonalisation HessianConfig::lanczos_reorthogonalisation() const {
  return chosen<Reorthogonalisation>(kReorthogonalisations, lanczos.reorthogonalisation);
}

EigenpairOptions HessianConfig::eigenpair_options(double noise) const {
  return {pairs.count,
          SpectrumEnd::both,
          pairs.basis,
          pairs.tolerance,
          noise,
          pairs.products,
          static_cast<std::uint64_t>(seed)};
}

TraceMethod HessianConfig::trace_estimator() const {
  return chosen<TraceMethod>(kTraceMethods, trace.method);
}

std::int64_t HessianConfig::files_from(std::int64_t parameters) const {
  if (vectors_in != "file") return ProductKind::kNoFiles;
  return (parameters + 1) / 2 * static_cast<std::int64_t>(c10::elementSize(dtype()));
}

at::ScalarType HessianConfig::dtype() const {
  return precision == "fp64" ? at::kDouble : at::kFloat;
}

}  // namespace blockwise
