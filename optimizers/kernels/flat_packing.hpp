// Flat buffers that are in fewer bits between steps (core/kernels/device/number_formats.hpp). A
// step makes float32 numbers of them window by window: consecutive elements, few enough for the
// caches of a device, are decoded into memory that all windows share, updated by the pieces of the
// plan that they are, and encoded again. Three launches and their packed buffers' per window; their
// number depends on the model's size, not on the number of tensors.
//
// Second moments that blocks share are fewer than the elements, have other places, and are needed
// before the first window: they are decoded together before a step and encoded together behind it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernels/device/number_formats.hpp"

namespace blockwise::kernels {

struct FlatPlan;
struct FlatSection;

// Elements [begin, end) and pieces [first_piece, last_piece) that are just these.
struct FlatWindow {
  std::int64_t begin = 0, end = 0;
  std::int64_t first_piece = 0, last_piece = 0;
};

// Windows over all pieces, in order, of at most `most` elements: between tensors, or where a whole
// number of `unit` of a tensor's elements lies before. Larger where there is no such place.
std::vector<FlatWindow> flat_windows(const FlatPlan& plan, const std::vector<FlatSection>& sections,
                                     std::int64_t unit, std::int64_t most);

// Where elements of one tensor are kept.
struct PackedTensor {
  std::int64_t begin = 0, size = 0;  // in the flat buffer
  float* plain = nullptr;            // float32; null where stored
  StoredNumbers stored;
  // Of rounding at random: first elements of parts that have a seed each, multiples of 256, and the
  // number of the first one's.
  std::vector<std::int64_t> parts = {0};
  std::int64_t first_seed = 0;
};

// What one block of threads decodes or encodes.
struct PackedRun {
  std::int64_t begin = 0;  // in the flat buffer
  std::int64_t first = 0;  // in its tensor
  std::int64_t place = 0;  // in its part
  std::int64_t seed = 0;
  float* plain = nullptr;  // of the first element
  StoredNumbers stored;    // of the tensor
  std::int32_t count = 0;
};

inline constexpr std::int64_t kPackedRun = 8192;

// One of a step's buffers; empty where it is float32 itself.
struct PackedBuffer {
  NumberFormat format;
  std::vector<PackedRun> runs;
  std::vector<std::int64_t> first_run;  // of every window, then their number

  bool is_packed() const { return !runs.empty(); }
};

PackedBuffer pack_buffer(const NumberFormat& format, const std::vector<PackedTensor>& tensors,
                         const std::vector<FlatWindow>& windows);

struct FlatPacking {
  PackedBuffer w, m, v;
  PackedBuffer shared;              // all of v, in one window; v itself is empty then
  std::vector<FlatWindow> windows;  // of w, m and v; empty: none of them is packed

  std::int64_t largest_window() const;
};

}  // namespace blockwise::kernels
