// How much of a matrix lies inside the blocks of a partition, from products alone.
//
// Sign-coded probes: a Rademacher v is kept while every block gets random signs s^k; with
// y^k = A (s^k . v), the in-block parts of s^k . y^k agree over k and the others do not, so
//   mean over k != l of (s^k . y^k)_b . (s^l . y^l)_b   is unbiased for  ||A_bb v_b||^2,
// hence for ||A_bb||_F^2 over v, for every block at once. Every s^k . v is itself a Rademacher
// probe, so ||A||_F^2 comes free. One running sum and two scalars per block:
//   sum over k != l of a_k . a_l = |sum of a_k|^2 - sum of |a_k|^2.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/base/linear_operator.hpp"
#include "hessian/trace.hpp"

namespace blockwise {

struct CodePlan {
  std::int64_t vectors = 4;  // v; errors are their spread
  std::int64_t codes = 4;    // s per v, at least 2
  std::uint64_t seed = 0;
};

struct BlockEnergies {
  std::vector<Estimate> blocks;  // ||A_bb||_F^2; an estimate may be negative
  Estimate inside;               // their sum
  Estimate whole;                // ||A||_F^2
  // inside / whole, with the error of a ratio estimator over the vectors: Student's t has one
  // degree of freedom less.
  double share = 0.0;
  double share_error = 0.0;
  std::int64_t products = 0;
};

// labels: int64 [rows] on the CPU, block numbers 0 .. block_count - 1. Cost: vectors * codes
// products.
BlockEnergies block_energies(const LinearOperator& a, const at::Tensor& labels,
                             std::int64_t block_count, const CodePlan& plan);

// sum over blocks of ||A_bb||_F^2 of a matrix that is there, [n, n].
double inside_energy(const at::Tensor& matrix, const at::Tensor& labels);

// Expected share of random blocks of the same sizes: elements of a block pair with each other as
// often as chance has it. Off-diagonal energy of A falls inside with probability
// sum n_b (n_b - 1) / (n (n - 1)), the diagonal always.
double random_share(const at::Tensor& labels, std::int64_t block_count, double diagonal_share);

// (share - random) / (1 - random): 0 for chance, 1 for a block-diagonal matrix.
double coupling_lift(double share, double random);

// Share of the variance of log |x| that lies inside the blocks: 0 where blocks are homogeneous, 1
// where they say nothing. Two independent estimates of x with independent noise: their covariance
// leaves it out. Elements that are 0 in either are left out.
double inside_variance(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                       std::int64_t block_count);

// ||diag A||^2 / ||A||_F^2 from Rademacher probes: z . (A z) estimates the diagonal, products of
// different probes leave its noise out. The error is that of the mean over ten groups of probes.
struct DiagonalShare {
  double share = 0.0;
  double standard_error = 0.0;
  at::Tensor first_half, second_half;  // two estimates of diag A, float64
  std::int64_t products = 0;
};
inline constexpr std::int64_t kDiagonalShareGroups = 10;
DiagonalShare diagonal_share(const LinearOperator& a, const SamplingPlan& plan);

}  // namespace blockwise
