// Curvature measured by several processes: rank 0 measures, and has the others take part in one
// piece of work after the other, until it says how it ended.
#pragma once

#include <cstdint>
#include <functional>

#include "core/parallel/ranks.hpp"

namespace blockwise {

// What the others can be asked for.
struct LedWork {
  // To serve() the Curvature of the point or sample with this number.
  std::function<void(std::int64_t)> curvature;
  // To make their part of the gradient's second moments; Stopped ends the piece alone.
  std::function<void()> moments = {};
};

// Of rank 0, before it makes the Curvature (number >= 0) or the moments itself, and at the end.
void lead_curvature(const Ranks& ranks, std::int64_t number);
void lead_moments(const Ranks& ranks);
void lead_end(const Ranks& ranks, std::int64_t outcome);

// Of every other rank: what rank 0 asks for, until the end; returns its outcome.
std::int64_t serve_work(const Ranks& ranks, const LedWork& work);

}  // namespace blockwise
