// Loops over the elements of float32 and bfloat16 arrays; for files that Highway compiles once per
// instruction set (hwy/foreach_target.h), each of which gets its own copy.
#include <cstdint>

#if defined(BLOCKWISE_CORE_KERNELS_ELEMENT_LOOP) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_CORE_KERNELS_ELEMENT_LOOP
#undef BLOCKWISE_CORE_KERNELS_ELEMENT_LOOP
#else
#define BLOCKWISE_CORE_KERNELS_ELEMENT_LOOP
#endif

#include "core/kernels/float_vectors.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

// Calls body(d, i) over [0, n) with full vectors, and over what is left with ever shorter ones.
template <class Body>
void over(std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  const auto with = [&](auto d) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    for (; i + lanes <= n; i += lanes) body(d, i);
  };
  with(hn::ScalableTag<float>());
  with(hn::CappedTag<float, 8>());
  with(hn::CappedTag<float, 4>());
  with(hn::CappedTag<float, 1>());
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#endif
