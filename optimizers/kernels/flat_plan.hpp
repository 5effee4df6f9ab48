// A plan of one step over flat buffers: what each block of threads of a device does, for any number
// of tensors and any structure of their second moments. Plain tables, made once on the host.
//
// Elements are cut into pieces, one per block of threads:
//   segments   `count` runs of `length` consecutive elements, one behind the other, each with a
//              second moment of its own (or parts of one). Rows, heads and whole tensors are such.
//   strips     `count` rows of `length` columns, `stride` apart, for tiles narrower than the matrix
//              and for factored moments: sums along the rows and along the columns in one read.
// Every sum has slots of its own for its parts, added in their order: what a step computes follows
// from the plan alone, not from the device.
#pragma once

#include <cstdint>
#include <vector>

#include "optimizers/kernels/flat_packing.hpp"

namespace blockwise::kernels {

inline constexpr int kThreads = 256;                // of a block
inline constexpr std::int64_t kSegment = 8192;      // elements of a piece that is consecutive
inline constexpr std::int64_t kWarpSegment = 1024;  // up to here a segment has one warp
inline constexpr std::int64_t kSegmentsPerPiece = 256;
inline constexpr std::int64_t kStripRows = 32;
inline constexpr std::int64_t kStripColumns = 1024;

// Rows of one tensor with one structure, [rows, columns] from element `begin` on.
struct FlatSection {
  // elements: v per element. tiles, factored: as in adam.hpp. none: v = 1.
  enum class Moment { elements, tiles, factored, none };
  // Of the learning rate: that of the step, one factor, or one per tile (factored: per group).
  enum class Rates { step, one, per_tile };

  std::int64_t begin = 0;
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  Moment moment = Moment::elements;
  std::int64_t tile_rows = 1;  // of second moments and of rates; factored: rows of a group
  std::int64_t tile_columns = 1;
  std::int64_t value = 0;    // number in v of the section's first
  std::int64_t merged = -1;  // sections of one number >= 0 share the mean; of tiles, one each
  Rates rates = Rates::step;
  std::int64_t rate = 0;  // number of the section's first factor
  std::int64_t tensor = 0;
  bool decays = true;
  bool rests = false;  // counts in the norm, stays as it is
};

// What one block of threads does.
struct Piece {
  enum Flag : std::uint32_t {
    strip = 1,
    per_element = 2,  // v per element, `value` on
    no_moment = 4,    // denominator 1
    factored = 8,     // v_ij = r_i c_j / mean(r)
    rate_of_step = 16,
    rate_per_element = 32,
    rate_per_tile = 64,  // of segments: per segment
    decays = 128,
    rests = 256,
  };
  std::int64_t begin = 0;        // first element
  std::int64_t stride = 0;       // of strips: elements from row to row
  std::int64_t value = 0;        // in v: of the first element, segment or column's tile
  std::int64_t row_value = 0;    // factored: r of the first row
  std::int64_t rate = 0;         // as value
  std::int64_t partial = -1;     // slot of the first segment's or column's sum; -1: none is kept
  std::int64_t row_partial = 0;  // factored: slot of the first row's sum
  std::int32_t length = 0;
  std::int32_t count = 0;
  std::int32_t row_slots = 0;     // factored: slots from row to row
  std::int32_t first_column = 0;  // of strips, in its tile of number `value`
  std::int32_t tile_columns = 1;
  std::int32_t group = 0;  // factored
  std::uint32_t flags = 0;

  constexpr bool is(Flag flag) const { return (flags & flag) != 0; }
};

// A value of v that is shared: beta2 v + (1 - beta2) / elements times the sum over `outer` runs of
// `inner` slots, `stride` from run to run.
struct SharedValue {
  std::int64_t value;
  std::int64_t partial;
  std::int64_t stride;
  std::int32_t inner;
  std::int32_t outer;
  double elements;
};

// Rows of a factored group: their r in v, from `value` on.
struct FactoredGroup {
  std::int64_t value;
  std::int64_t rows;
};

struct FlatPlan {
  std::vector<Piece> pieces;  // in the order of the tensors
  std::vector<SharedValue> values;
  std::vector<FactoredGroup> groups;
  std::vector<std::int64_t> tensor_pieces{0};  // tensor i has pieces [tensor_pieces[i], [i + 1])
  std::int64_t partials = 0;                   // slots
  FlatPacking packing;                         // of buffers that are not float32
};

// Sections in the order of their tensors, numbered from 0 without gaps. Throws
// std::invalid_argument for a tensor out of order and a merged section of several tiles.
FlatPlan make_flat_plan(const std::vector<FlatSection>& sections);

}  // namespace blockwise::kernels
