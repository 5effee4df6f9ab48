// Which atoms of a parameter vector (rows, heads, tensors) belong together: the map of couplings
// between all pairs of them from sign-coded probes, and its groups.
//
// With a Rademacher v, signs s^k per atom and y^k = A (s^k . v), for k != l
//   E[ s_j^k s_j^l  <y_i^k, y_i^l> ] = ||A_ij v_j||^2,
// hence ||A_ij||_F^2 over v, for all pairs at once. Signs that no product had in their place give
// the null: the same noise around 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "hessian/block_energies.hpp"

namespace blockwise {

struct AtomGraph {
  at::Tensor links;  // [atoms, atoms] float64, symmetric: ||A_ij||_F^2, may be negative
  at::Tensor rows;   // [atoms]: sum over j of ||A_ij||_F^2
  // [atoms, atoms]: the largest weight that one direction has in a link, a quadratic form of signs.
  // Where an atom's products all lie along one line, the noise is that direction's square, whose
  // tail is far above a normal one's.
  at::Tensor peaks;
  std::vector<at::Tensor> null;  // links from foreign signs
  std::int64_t products = 0;
};

// labels: int64 [rows] on the CPU, the atom of every element, 0 .. atoms - 1. Cost: vectors * codes
// products, and memory for `codes` of them. `observe` is told after every product and may return
// false to stop; `products` then says how many there were and nothing else is of use.
AtomGraph atom_graph(const LinearOperator& a, const at::Tensor& labels, std::int64_t atoms,
                     const CodePlan& plan, const std::function<bool()>& observe = {});

// A group number per atom, counted in the order in which groups begin. Links are divided by the
// roots of their atoms' sums of links, so that large atoms do not attract. The two groups with the
// strongest mean link (average linkage) that gain modularity (Newman, PRE 69, 066133, 2004, eq. 2:
// links inside beyond those that the atoms' sums make likely) are merged, as long as the links
// between them exceed those of the null with 99 % confidence for all pairs together, by the tail of
// a quadratic form X with the standard deviation d and the largest weight p,
//   P(X > d sqrt(2 x) + 2 p x) < exp(-x)   (Laurent and Massart, Ann. Stat. 28, 2000, Lemma 1).
// Then atoms move to the group of several that gains most, above the null with 99 % confidence,
// until none does (Blondel et al., J. Stat. Mech. P10008, 2008). O(atoms^3).
std::vector<std::int64_t> group_atoms(const AtomGraph& graph);

// Of two groupings: agreement of pairs beyond chance, 1 for equal ones (Hubert and Arabie 1985).
double adjusted_rand(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b);

}  // namespace blockwise
