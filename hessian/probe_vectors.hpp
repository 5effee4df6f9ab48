// Random vectors of hessian/: what each is drawn for, and how. Every draw is a pure function of a
// seed, two numbers and nothing else (core/base/random_stream.hpp).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/base/random_stream.hpp"

namespace blockwise {

// What a measurement draws vectors for. Two purposes never share their vectors, under any seeds;
// guards and the spectrum behind Adam's diagonal use the Lanczos starts on purpose.
enum class ProbeStream : std::uint64_t {
  lanczos,         // starts, whose number is the probe's
  trace,           // traces and Frobenius norms
  diagonal,        // diagonals and row norms
  diagonal_share,  // the share of the energy that is on the diagonal
  couplings,       // norms of the blocks off the diagonal
  energies         // sign-coded vectors, of the energy inside a partition's blocks
};

// The seed of a purpose's vectors, for a SamplingPlan, a CodePlan and so on.
std::uint64_t probe_seed(std::uint64_t seed, ProbeStream stream);

// Vectors that are drawn once, or are numbered in another way, stand behind all numbers of probes.
enum class ProbePlace : std::uint64_t {
  eigenpair_start = std::uint64_t{1} << 40,
  section_order = std::uint64_t{1} << 41,  // of a section's elements, shuffled
  best_rate_start = std::uint64_t{1} << 42,
  atom_signs = std::uint64_t{1} << 43,  // and what follows it
  fidelity_codes = std::uint64_t{1} << 44,
  further_start = std::uint64_t{1} << 45  // of a restarted process, for copies of eigenvalues
};

// At the start of the vector number (a, b).
at::Generator probe_generator(std::uint64_t seed, std::uint64_t a, std::uint64_t b = 0);
at::Generator probe_generator(std::uint64_t seed, ProbePlace place, std::uint64_t b = 0);

// Entries of +1 and -1, equally often; float64 on the host.
at::Tensor rademacher(at::IntArrayRef shape, at::Generator generator);
// [size], number (a, b) of the seed's, neither below 0.
at::Tensor signs(std::int64_t size, std::uint64_t seed, std::int64_t a, std::int64_t b = 0);
// Standard normal entries, drawn in float64 on the host and made what `options` say.
at::Tensor gaussian(std::int64_t size, at::Generator generator, const at::TensorOptions& options);

}  // namespace blockwise
