// How causal_attention.cpp cuts its work and lays out its scratch: the same for every instruction
// set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/kernels/causal_attention.hpp"

namespace blockwise {

constexpr std::int64_t kMostLanes = 16;    // float32 in the widest vectors
constexpr std::int64_t kPanel = 64;        // keys whose transposes lie together
constexpr std::int64_t kStrip = 512;       // keys to one softmax of the forward pass
constexpr std::int64_t kForwardRows = 32;  // queries that are handled together
constexpr std::int64_t kBackwardRows = 64;
// Behind a row of scores, so that the rows of a tile do not fall on the same lines of the cache.
constexpr std::int64_t kGap = kMostLanes;

constexpr std::int64_t whole(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

struct Range {
  std::int64_t begin, end;
  bool is_empty() const { return begin >= end; }
  // The part within [first, first + count), counted from first on.
  Range within(std::int64_t first, std::int64_t count) const {
    return {std::max<std::int64_t>(begin - first, 0), std::min(end - first, count)};
  }
  Range aligned(std::int64_t lanes) const { return {begin / lanes * lanes, whole(end, lanes)}; }
};

// Who sees whom.
struct Sight {
  std::int64_t window;
  // Keys that some of the queries [first, first + count) see.
  Range keys(std::int64_t first, std::int64_t count) const {
    return {std::max<std::int64_t>(0, first - window + 1), first + count};
  }
  // Queries that see some of the keys [first, first + count).
  Range queries(std::int64_t first, std::int64_t count) const {
    return {first, first + count - 1 + window};
  }
};

// Hands out aligned parts of a scratch, or only counts where there is none.
class ScratchParts {
 public:
  explicit ScratchParts(float* scratch) : scratch_(scratch) {}
  float* take(std::int64_t count) {
    const auto begin = taken_;
    taken_ += whole(count, kMostLanes);
    return scratch_ == nullptr ? nullptr : scratch_ + begin;
  }
  std::int64_t taken() const { return taken_; }

 private:
  float* scratch_;
  std::int64_t taken_ = 0;
};

struct PaddedSizes {
  explicit PaddedSizes(const AttentionSizes& sizes)
      : width(whole(sizes.width, kMostLanes)),
        keys(whole(sizes.length, kPanel)),
        panel(whole(sizes.width, 4) * kPanel),
        panels(keys / kPanel * panel),
        strip(std::min(kStrip, keys) + kGap) {}
  std::int64_t width, keys;
  std::int64_t panel, panels;  // floats in one, [width, kPanel], and in all
  std::int64_t strip;          // from one row of scores to the next, forward
};

struct ForwardScratch {
  ForwardScratch(const AttentionSizes& sizes, ScratchParts parts)
      : padded(sizes),
        v(parts.take(padded.keys * padded.width)),
        rows(parts.take(kPanel * padded.width)),
        q(parts.take(kForwardRows * padded.width)),
        packed_floats(parts.taken()),
        k_panels(parts.take(padded.panels)),
        out(parts.take(kForwardRows * padded.width)),
        scores(parts.take(kForwardRows * padded.strip)),
        most(parts.take(kForwardRows)),
        sums(parts.take(kForwardRows)),
        floats(parts.taken()) {}
  PaddedSizes padded;
  float* v;
  float* rows;  // of one panel, before they are transposed
  float* q;
  std::int64_t packed_floats;  // of the three above, whose columns beyond the width stay 0
  float *k_panels, *out, *scores, *most, *sums;
  std::int64_t floats;
};

struct BackwardScratch {
  static constexpr std::int64_t kScores = kPanel + kGap;  // from one row of scores to the next
  BackwardScratch(const AttentionSizes& sizes, ScratchParts parts)
      : padded(sizes),
        k(parts.take(padded.keys * padded.width)),
        rows(parts.take(kPanel * padded.width)),
        q(parts.take(kBackwardRows * padded.width)),
        out(parts.take(kBackwardRows * padded.width)),
        slope(parts.take(kBackwardRows * padded.width)),
        packed_floats(parts.taken()),
        k_panels(parts.take(padded.panels)),
        v_panels(parts.take(padded.panels)),
        dk(parts.take(padded.keys * padded.width)),
        dv(parts.take(padded.keys * padded.width)),
        dq(parts.take(kBackwardRows * padded.width)),
        p(parts.take(kBackwardRows * kScores)),
        ds(parts.take(kBackwardRows * kScores)),
        log_sums(parts.take(kBackwardRows)),
        means(parts.take(kBackwardRows)),
        floats(parts.taken()) {}
  PaddedSizes padded;
  float* k;
  float* rows;  // of one panel, before they are transposed
  float *q, *out, *slope;
  std::int64_t packed_floats;  // of the five above, whose columns beyond the width stay 0
  float *k_panels, *v_panels, *dk, *dv, *dq, *p, *ds, *log_sums;
  float* means;  // d_i out_i, the mean of d_i v_j under p
  std::int64_t floats;
};

}  // namespace blockwise
