// Products of small float32 matrices in packed memory, tile by tile in registers; for files that
// Highway compiles once per instruction set (hwy/foreach_target.h), each of which gets its own
// copy.
#include <algorithm>
#include <cstdint>

#if defined(BLOCKWISE_CORE_KERNELS_SMALL_PRODUCT) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_CORE_KERNELS_SMALL_PRODUCT
#undef BLOCKWISE_CORE_KERNELS_SMALL_PRODUCT
#else
#define BLOCKWISE_CORE_KERNELS_SMALL_PRODUCT
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A tile's sums, one row of the right factor and one element of the left fill 28 of 32 registers,
// or all of 16.
constexpr int kTileRows = HWY_MAX_BYTES == 64 || HWY_ARCH_ARM_A64 ? 8 : 4;
constexpr int kTileVectors = 3;

// Element (m, k) is at data[m * row + k * column].
struct LeftFactor {
  const float* data;
  std::int64_t row, column;
};

enum class Into { nothing, sum };  // what the result's place holds before

// Vectors of `D`, kCount beside each other, of every row of a tile.
template <class D, int kCount>
struct TileSums {
  using V = hn::Vec<D>;
  V sum[kTileRows][kCount];

  template <Into kInto>
  HWY_INLINE void start(const float* c, std::int64_t row) {
    HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
      HWY_UNROLL(3) for (int v = 0; v < kCount; ++v) {
        sum[r][v] = kInto == Into::sum ? hn::Load(D(), c + r * row + v * lanes()) : hn::Zero(D());
      }
    }
  }
  // Adds the outer product of a column of a and a row of b.
  HWY_INLINE void add(const float* a, std::int64_t row, const float* b) {
    V right[kCount];
    HWY_UNROLL(3) for (int v = 0; v < kCount; ++v) right[v] = hn::Load(D(), b + v * lanes());
    HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
      const V left = hn::Set(D(), a[r * row]);
      HWY_UNROLL(3) for (int v = 0; v < kCount; ++v) {
        sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
      }
    }
  }
  HWY_INLINE void finish(float* c, std::int64_t row) const {
    HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
      HWY_UNROLL(3) for (int v = 0; v < kCount; ++v) {
        hn::Store(sum[r][v], D(), c + r * row + v * lanes());
      }
    }
  }
  static std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(D())); }
};

// c (+)= a b with a [kTileRows, depth], b [depth, kVectors of lanes], rows of b and c dense.
template <int kVectors, Into kInto>
HWY_INLINE void tile(const LeftFactor& a, const float* HWY_RESTRICT b, std::int64_t b_row,
                     std::int64_t depth, float* HWY_RESTRICT c, std::int64_t c_row) {
  TileSums<hn::ScalableTag<float>, kVectors> sums;
  sums.template start<kInto>(c, c_row);
  const float* left = a.data;
  for (std::int64_t k = 0; k < depth; ++k, left += a.column, b += b_row) sums.add(left, a.row, b);
  sums.finish(c, c_row);
}

#if HWY_MAX_BYTES == 64
// The same with b [depth, one and a half vectors], for heads of 24 numbers and the like: where the
// processor takes long vectors in two halves, that is a quarter less.
template <Into kInto>
HWY_INLINE void tile_and_half(const LeftFactor& a, const float* HWY_RESTRICT b, std::int64_t b_row,
                              std::int64_t depth, float* HWY_RESTRICT c, std::int64_t c_row) {
  using Half = hn::Half<hn::ScalableTag<float>>;
  TileSums<hn::ScalableTag<float>, 1> sums;
  TileSums<Half, 1> more;
  constexpr std::int64_t kLanes = HWY_LANES(float);
  sums.template start<kInto>(c, c_row);
  more.template start<kInto>(c + kLanes, c_row);
  const float* left = a.data;
  for (std::int64_t k = 0; k < depth; ++k, left += a.column, b += b_row) {
    sums.add(left, a.row, b);
    more.add(left, a.row, b + kLanes);
  }
  sums.finish(c, c_row);
  more.finish(c + kLanes, c_row);
}
#endif

// c (+)= a b with a [kTileRows, depth], b [depth, columns]. b, c and their rows are aligned to
// vectors, and the columns that are written may go on to the next multiple of the lanes.
template <Into kInto>
HWY_NOINLINE void product_of_rows(const LeftFactor& a, const float* b, std::int64_t b_row,
                                  std::int64_t depth, float* c, std::int64_t c_row,
                                  std::int64_t columns) {
  constexpr std::int64_t kLanes = HWY_LANES(float);
  while (columns > 0) {
#if HWY_MAX_BYTES == 64
    if (columns > kLanes && columns <= kLanes * 3 / 2) {
      return tile_and_half<kInto>(a, b, b_row, depth, c, c_row);
    }
#endif
    // Two and two rather than three and one, which would load more than it multiplies.
    const auto left = (columns + kLanes - 1) / kLanes;
    const auto vectors = left == 4 ? 2 : std::min<std::int64_t>(kTileVectors, left);
    if (vectors == 3) {
      tile<3, kInto>(a, b, b_row, depth, c, c_row);
    } else if (vectors == 2) {
      tile<2, kInto>(a, b, b_row, depth, c, c_row);
    } else {
      tile<1, kInto>(a, b, b_row, depth, c, c_row);
    }
    columns -= vectors * kLanes;
    b += vectors * kLanes;
    c += vectors * kLanes;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#endif
