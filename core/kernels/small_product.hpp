// Products of small float32 matrices in packed memory, tile by tile in registers; for files that
// Highway compiles once per instruction set (hwy/foreach_target.h), each of which gets its own copy.
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

// c (+)= a b with a [kTileRows, depth], b [depth, kVectors of lanes], rows of b and c dense.
template <int kVectors, Into kInto>
HWY_INLINE void tile(const LeftFactor& a, const float* HWY_RESTRICT b, std::int64_t b_row,
                     std::int64_t depth, float* HWY_RESTRICT c, std::int64_t c_row) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V sum[kTileRows][kVectors];
  HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
    HWY_UNROLL(3) for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = kInto == Into::sum ? hn::Load(d, c + r * c_row + v * lanes) : hn::Zero(d);
    }
  }
  const float* left = a.data;
  for (std::int64_t k = 0; k < depth; ++k, left += a.column, b += b_row) {
    V right[kVectors];
    HWY_UNROLL(3) for (int v = 0; v < kVectors; ++v) right[v] = hn::Load(d, b + v * lanes);
    HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
      const V element = hn::Set(d, left[r * a.row]);
      HWY_UNROLL(3) for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::MulAdd(element, right[v], sum[r][v]);
      }
    }
  }
  HWY_UNROLL(8) for (int r = 0; r < kTileRows; ++r) {
    HWY_UNROLL(3) for (int v = 0; v < kVectors; ++v) {
      hn::Store(sum[r][v], d, c + r * c_row + v * lanes);
    }
  }
}

// c (+)= a b with a [kTileRows, depth], b [depth, columns]. b, c and their rows are aligned to
// vectors, and so are the columns that are written: up to the next multiple of the lanes.
template <Into kInto>
HWY_NOINLINE void product_of_rows(const LeftFactor& a, const float* b, std::int64_t b_row,
                                  std::int64_t depth, float* c, std::int64_t c_row,
                                  std::int64_t columns) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  for (std::int64_t left = (columns + lanes - 1) / lanes; left > 0;) {
    // Two and two rather than three and one, which would load more than it multiplies.
    const auto vectors = left == 4 ? 2 : std::min<std::int64_t>(kTileVectors, left);
    if (vectors == 3) {
      tile<3, kInto>(a, b, b_row, depth, c, c_row);
    } else if (vectors == 2) {
      tile<2, kInto>(a, b, b_row, depth, c, c_row);
    } else {
      tile<1, kInto>(a, b, b_row, depth, c, c_row);
    }
    left -= vectors;
    b += vectors * lanes;
    c += vectors * lanes;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#endif
