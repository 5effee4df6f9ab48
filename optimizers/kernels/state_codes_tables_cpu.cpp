// Codes that are looked up, with a scale per block.
#define HWY_WANT_AVX3_DL 1  // has permutations of bytes; Highway before 1.0.7 leaves it out

#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_tables_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_lookups.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

HWY_INLINE float scale_of(const CodeTable&, const float* x, std::int64_t n) {
  return signed_largest(x, n);
}

HWY_INLINE float scale_of(const Codebook&, const float* x, std::int64_t n) { return largest(x, n); }

// The codes of 64 values of one scale.
template <int kCodesPerByte, class Table>
HWY_INLINE void encode_64(const Table& table, const Scaling& scaled, const float* x,
                          std::uint8_t* codes) {
  const Floats d;
  const auto load = [&](std::int64_t i) HWY_ATTR { return scaled(d, hn::LoadU(d, x + i)); };
  coded_64<kCodesPerByte>(table, load, codes);
}

template <int kCodesPerByte, class Table>
HWY_INLINE void encode_blocks(const Table& table, const float* x, const BlockedRun& run,
                              const Codes& stored) {
  over_blocks(run, [&](auto number, auto begin, auto count) HWY_ATTR {
    const Scaling scaled(stored.scales[number] = scale_of(table, x + begin, count));
    encode_steps<kCodesPerByte>(x + begin, count, stored.codes + begin / kCodesPerByte,
                                [&](std::int64_t, const float* from, std::uint8_t* to) HWY_ATTR {
                                  encode_64<kCodesPerByte>(table, scaled, from, to);
                                });
  });
}

template <int kCodesPerByte>
HWY_INLINE void decode_blocks(const NumberTable& values, const Codes& stored, const BlockedRun& run,
                              float* x) {
  const Floats d;
  over_blocks(run, [&](auto number, auto begin, auto count) HWY_ATTR {
    const auto scale = hn::Set(d, stored.scales[number]);
    decode_steps<kCodesPerByte>(stored.codes + begin / kCodesPerByte, count, x + begin,
                                [&](std::int64_t, const std::uint8_t* from, float* to) HWY_ATTR {
                                  decoded_64<kCodesPerByte>(
                                      values, from, [&](auto i, auto value) HWY_ATTR {
                                        hn::StoreU(hn::Mul(value, scale), d, to + i);
                                      });
                                });
  });
}

void Encode8(const CodeTable& table, const float* x, const BlockedRun& run, const Codes& stored) {
  encode_blocks<1>(table, x, run, stored);
}

void Encode4(const CodeTable& table, const float* x, const BlockedRun& run, const Codes& stored) {
  encode_blocks<2>(table, x, run, stored);
}

void EncodeCodebook(const Codebook& book, const float* x, const BlockedRun& run,
                    const Codes& stored) {
  encode_blocks<1>(book, x, run, stored);
}

void Decode8(const NumberTable& values, const Codes& stored, const BlockedRun& run, float* x) {
  decode_blocks<1>(values, stored, run, x);
}

void Decode4(const NumberTable& values, const Codes& stored, const BlockedRun& run, float* x) {
  decode_blocks<2>(values, stored, run, x);
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(Encode8);
HWY_EXPORT(Encode4);
HWY_EXPORT(EncodeCodebook);
HWY_EXPORT(Decode8);
HWY_EXPORT(Decode4);

void encode_8bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(Encode8)
    (table, x + begin, {count, block}, {stored.codes + begin, stored.scales + begin / block});
  });
}

void encode_4bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(Encode4)
    (table, x + begin, {count, block}, {stored.codes + begin / 2, stored.scales + begin / block});
  });
}

void encode_codebook(const Codebook& book, const float* x, std::int64_t n, std::int64_t block,
                     const Codes& stored) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeCodebook)
    (book, x + begin, {count, block}, {stored.codes + begin, stored.scales + begin / block});
  });
}

void decode_8bit(const NumberTable& values, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(Decode8)
    (values, {stored.codes + begin, stored.scales + begin / block}, {count, block}, x + begin);
  });
}

void decode_codebook(const Codebook& book, const Codes& stored, std::int64_t n, std::int64_t block,
                     float* x) {
  decode_8bit(book.values(), stored, n, block, x);
}

void decode_4bit(const NumberTable& values, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x) {
  over_tasks(n, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(Decode4)
    (values, {stored.codes + begin / 2, stored.scales + begin / block}, {count, block}, x + begin);
  });
}

}  // namespace blockwise::kernels
#endif
