#include "experiments/config/former_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace blockwise {

const std::vector<FormerKey>& hessian_keys() {
  static const std::vector<FormerKey> keys = {
      {"hessian.every", "hessian.every"},
      {"hessian.at_steps", "hessian.at_steps"},
      {"hessian.kind", "hessian.kind"},
      {"hessian.method", "hessian.method"},
      {"hessian.precision", "hessian.precision"},
      {"hessian.batches", "hessian.batches"},
      {"hessian.batch_size", "hessian.batch_size"},
      {"hessian.order", "hessian.order"},
      {"hessian.models", "hessian.models"},
      {"hessian.each", "hessian.parts.each"},
      {"hessian.names", "hessian.parts.names"},
      {"hessian.roles", "hessian.parts.roles"},
      {"hessian.layers", "hessian.parts.layers"},
      {"hessian.index", "hessian.parts.index"},
      {"hessian.lanczos_steps", "hessian.lanczos.steps"},
      {"hessian.probes", "hessian.lanczos.probes"},
      {"hessian.reorthogonalisation", "hessian.lanczos.reorthogonalisation"},
      {"hessian.eigenpairs", "hessian.pairs.count"},
      {"hessian.save_every", "hessian.lanczos.save_every"},
      {"hessian.lockstep", "hessian.lanczos.lockstep"},
      {"hessian.eigensolver", "hessian.pairs.solver"},
      {"hessian.eigen_basis", "hessian.pairs.basis"},
      {"hessian.eigen_products", "hessian.pairs.products"},
      {"hessian.eigen_tolerance", "hessian.pairs.tolerance"},
      {"hessian.vectors", "hessian.pairs.vectors"},
      {"hessian.functions", "hessian.spectral.functions"},
      {"hessian.damping", "hessian.spectral.damping"},
      {"hessian.function_error", "hessian.spectral.error"},
      {"hessian.trace_products", "hessian.trace.products"},
      {"hessian.trace_method", "hessian.trace.method"},
      {"hessian.trace_error", "hessian.trace.error"},
      {"hessian.diagonal_products", "hessian.diagonal.products"},
      {"hessian.diagonal_error", "hessian.diagonal.error"},
      {"hessian.coupling_products", "hessian.couplings.products"},
      {"hessian.partitions", "hessian.energies.partitions"},
      {"hessian.code_vectors", "hessian.energies.code_vectors"},
      {"hessian.codes", "hessian.energies.codes"},
      {"hessian.guards", "hessian.guards"},
      {"hessian.exact", "hessian.exact"},
      {"hessian.distances", "hessian.distances"},
      {"hessian.preconditioning", "hessian.preconditioning"},
      {"hessian.seed", "hessian.seed"}};
  return keys;
}

std::string present_key(const std::string& path) {
  const auto& [former, now] = kRenamedSection;
  if (path == former || path.starts_with(fmt::format("{}.", former))) {
    return fmt::format("{}{}", now, path.substr(former.size()));
  }
  const auto found = std::ranges::find(hessian_keys(), path, &FormerKey::former);
  return found == hessian_keys().end() ? path : std::string(found->now);
}

std::string moved_text(const std::string& place, const std::string& former) {
  return fmt::format("{}: {} is now {}", place, former, present_key(former));
}

}  // namespace blockwise
