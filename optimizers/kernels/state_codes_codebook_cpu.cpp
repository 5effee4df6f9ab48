// Codes of learned values, by bisection.
#define HWY_WANT_AVX3_DL 1  // has permutations of bytes; Highway before 1.0.7 leaves it out

#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_codebook_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_lookups.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

void EncodeCodebook(const Codebook& book, const float* x, const BlockedRun& run,
                    const Codes& stored) {
  const Floats d;
  over_blocks(run, [&](auto number, auto begin, auto count) HWY_ATTR {
    const Scaling scaled(stored.scales[number] = largest(x + begin, count));
    encode_steps<1>(x + begin, count, stored.codes + begin,
                    [&](std::int64_t, const float* from, std::uint8_t* to) HWY_ATTR {
                      const auto load = [&](std::int64_t i)
                                            HWY_ATTR { return scaled(d, hn::LoadU(d, from + i)); };
                      codes_of_64(book, load, to);
                    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(EncodeCodebook);

void encode_codebook(const Codebook& book, const float* x, std::int64_t n, std::int64_t block,
                     const Codes& stored) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeCodebook)
    (book, x + begin, {count, block}, {stored.codes + begin, stored.scales + begin / block});
  });
}

void decode_codebook(const Codebook& book, const Codes& stored, std::int64_t n, std::int64_t block,
                     float* x) {
  decode_8bit(book.values(), stored, n, block, x);
}

}  // namespace blockwise::kernels
#endif
