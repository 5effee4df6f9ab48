// Codes of 64 values and values of 64 codes, once per instruction set: include it behind
// hwy/highway.h. Where bytes can be permuted across 512 bits, the tables are registers; elsewhere
// they are gathered from.
#if defined(BLOCKWISE_CODE_LOOKUPS) == defined(HWY_TARGET_TOGGLE)
#ifdef BLOCKWISE_CODE_LOOKUPS
#undef BLOCKWISE_CODE_LOOKUPS
#else
#define BLOCKWISE_CODE_LOOKUPS
#endif

#include "optimizers/kernels/code_table.hpp"
#include "optimizers/kernels/code_vectors.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL

HWY_ALIGN constexpr std::uint16_t kOddWords[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                   23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                   45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
HWY_ALIGN constexpr std::uint8_t kEvenBytes[64] = {
    0,  2,  4,   6,   8,   10,  12,  14,  16,  18,  20,  22,  24,  26,  28,  30,
    32, 34, 36,  38,  40,  42,  44,  46,  48,  50,  52,  54,  56,  58,  60,  62,
    64, 66, 68,  70,  72,  74,  76,  78,  80,  82,  84,  86,  88,  90,  92,  94,
    96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126};

// Elements of a table of 256 bytes, by 64 numbers.
HWY_INLINE __m512i bytes_at(const std::uint8_t* table, __m512i at) {
  const auto part = [table](int k) HWY_ATTR { return _mm512_loadu_si512(table + 64 * k); };
  const auto low = _mm512_permutex2var_epi8(part(0), at, part(1));
  const auto high = _mm512_permutex2var_epi8(part(2), at, part(3));
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
}

// Sixty-four numbers of a table, sixteen to a vector.
struct SixtyFour {
  __m512 part[4];

  // Bytes that belong together meet within 128 bits only: the lanes take turns for that.
  HWY_INLINE SixtyFour(const NumberTable& table, __m512i at) {
    const auto turns = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const auto turned = _mm512_permutexvar_epi32(turns, at);
    const auto byte = [&](std::size_t k)
                          HWY_ATTR { return bytes_at(table.bytes[k].data(), turned); };
    const auto a = byte(0), b = byte(1), c = byte(2), d = byte(3);
    const auto low_ab = _mm512_unpacklo_epi8(a, b), low_cd = _mm512_unpacklo_epi8(c, d);
    const auto high_ab = _mm512_unpackhi_epi8(a, b), high_cd = _mm512_unpackhi_epi8(c, d);
    part[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low_ab, low_cd));
    part[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low_ab, low_cd));
    part[2] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(high_ab, high_cd));
    part[3] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(high_ab, high_cd));
  }
};

// Keys of 32 values, and which of the values are numbers, as their upper 16 bits tell.
struct ThirtyTwoKeys {
  __m512i key;
  __mmask32 is_number;

  HWY_INLINE ThirtyTwoKeys(const CodeKeys& keys, __m512 first, __m512 second) {
    const auto upper = _mm512_permutex2var_epi16(
        _mm512_castps_si512(first), _mm512_load_si512(kOddWords), _mm512_castps_si512(second));
    const auto size = _mm512_and_si512(upper, _mm512_set1_epi16(0x7FFF));
    is_number = _mm512_cmple_epi16_mask(size, _mm512_set1_epi16(0x3F80));
    const auto a = _mm512_max_epi16(size, _mm512_set1_epi16(96 << 7));
    auto e = _mm512_srli_epi16(a, 7);
    e = _mm512_mask_sub_epi16(e, _mm512_movepi16_mask(upper), e, _mm512_set1_epi16(32));
    const auto shift = words_at(keys.shift.data(), e), offset = words_at(keys.offset.data(), e);
    key = _mm512_add_epi16(_mm512_srlv_epi16(a, shift), offset);
  }

 private:
  HWY_INLINE static __m512i words_at(const std::uint16_t* table, __m512i at) {
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(table), at, _mm512_loadu_si512(table + 32));
  }
};

using SixtyFourValues = __m512[4];

// Which values are above the thresholds of their codes.
HWY_INLINE __mmask64 is_above(const NumberTable& thresholds, const SixtyFourValues& x,
                              __m512i code) {
  const SixtyFour threshold(thresholds, code);
  const auto part = [&](int k) HWY_ATTR {
    return _mm512_cmp_ps_mask(x[k], threshold.part[k], _CMP_GT_OQ);
  };
  return _mm512_kunpackd(_mm512_kunpackw(part(3), part(2)), _mm512_kunpackw(part(1), part(0)));
}

HWY_INLINE __m512i add_where(__mmask64 where, __m512i code, int x) {
  return _mm512_mask_add_epi8(code, where, code, _mm512_set1_epi8(static_cast<char>(x)));
}

// The code of a value: that of its key's smallest value, or one more.
template <class Load>
HWY_INLINE void codes_of_64(const CodeTable& table, const Load& load, std::uint8_t* codes) {
  const SixtyFourValues x = {load(0).raw, load(16).raw, load(32).raw, load(48).raw};
  const ThirtyTwoKeys low(table.keys(), x[0], x[1]), high(table.keys(), x[2], x[3]);
  const auto key = _mm512_permutex2var_epi8(low.key, _mm512_load_si512(kEvenBytes), high.key);
  const auto bit_8 = _mm512_set1_epi16(256);
  const auto in_upper_half = _mm512_kunpackd(_mm512_test_epi16_mask(high.key, bit_8),
                                             _mm512_test_epi16_mask(low.key, bit_8));
  const auto* first = table.keys().first.data();
  const auto code =
      _mm512_mask_blend_epi8(in_upper_half, bytes_at(first, key), bytes_at(first + 256, key));
  const auto nearest = add_where(is_above(table.thresholds(), x, code), code, 1);
  const auto is_number = _mm512_kunpackd(high.is_number, low.is_number);
  _mm512_storeu_si512(codes, _mm512_maskz_mov_epi8(is_number, nearest));
}

// Every round tells one bit, by the threshold in the middle of what is left.
template <class Load>
HWY_INLINE void codes_of_64(const Codebook& book, const Load& load, std::uint8_t* codes) {
  const SixtyFourValues x = {load(0).raw, load(16).raw, load(32).raw, load(48).raw};
  auto code = _mm512_setzero_si512();
  int bit = 128;
  for (const auto& round : book.rounds()) {
    code = add_where(is_above(round, x, code), code, bit);
    bit /= 2;
  }
  _mm512_storeu_si512(codes, code);
}

// Calls store(i, values) for the values of codes i to i + the lanes of Floats.
template <class Store>
HWY_INLINE void values_of_64(const NumberTable& table, const std::uint8_t* codes,
                             const Store& store) {
  const SixtyFour values(table, _mm512_loadu_si512(codes));
  for (int k = 0; k < 4; ++k) store(16 * k, FloatVector{values.part[k]});
}

#else

// load(i): values i to i + the lanes of Floats, at most 1 in size.
template <class Load>
HWY_INLINE void codes_of_64(const CodeTable& table, const Load& load, std::uint8_t* codes) {
  const hn::RebindToSigned<Floats> di;
  const auto& buckets = table.buckets();
  const auto* entries = reinterpret_cast<const std::int32_t*>(buckets.entries.data());
  const auto set = [di](std::uint32_t x)
                       HWY_ATTR { return hn::Set(di, static_cast<std::int32_t>(x)); };
  const auto least = set(buckets.base << 16);
  const auto most = set((buckets.base + buckets.count - 1) << 16);
  const auto low_half = set(0xFFFF), base = set(buckets.base), count = set(buckets.count);
  for (std::int64_t i = 0; i < kStep; i += float_lanes()) {
    const auto bits = hn::BitCast(di, load(i));
    const auto sign = hn::BroadcastSignBit(bits);
    const auto size = hn::And(bits, set(0x7FFFFFFF));
    const auto a = hn::Min(hn::Max(size, least), most);
    const auto lower = hn::And(hn::Xor(a, sign), low_half);
    const auto bucket = hn::Add(hn::Sub(hn::ShiftRight<16>(a), base), hn::And(sign, count));
    const auto entry = hn::GatherIndex(di, entries, bucket);
    const auto code = hn::ShiftRight<16>(hn::Add(entry, lower));
    const auto is_zero = hn::Eq(size, hn::Zero(di));
    store_bytes(hn::IfThenElse(is_zero, set(buckets.zero), code), codes + i);
  }
}

// Every round tells one bit, by the threshold in the middle of what is left.
template <class Load>
HWY_INLINE void codes_of_64(const Codebook& book, const Load& load, std::uint8_t* codes) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  for (std::int64_t i = 0; i < kStep; i += float_lanes()) {
    const auto x = load(i);
    auto code = hn::Zero(di);
    int bit = 128;
    for (const auto& round : book.rounds()) {
      const auto is_above = hn::Gt(x, hn::GatherIndex(d, round.numbers.data(), code));
      code = hn::Add(code, hn::IfThenElseZero(hn::RebindMask(di, is_above), hn::Set(di, bit)));
      bit /= 2;
    }
    store_bytes(code, codes + i);
  }
}

// Calls store(i, values) for the values of codes i to i + the lanes of Floats.
template <class Store>
HWY_INLINE void values_of_64(const NumberTable& table, const std::uint8_t* codes,
                             const Store& store) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint8_t, Floats> bytes;
  for (std::int64_t i = 0; i < kStep; i += float_lanes()) {
    const auto at = hn::PromoteTo(di, hn::LoadU(bytes, codes + i));
    store(i, hn::GatherIndex(d, table.numbers.data(), at));
  }
}

#endif

// Two codes of 4 bits from two bytes, the first in the low half.
HWY_INLINE void pack_64(const std::uint8_t* codes, std::uint8_t* packed) {
  const hn::CappedTag<std::uint16_t, 32> d;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kStep / 2; i += lanes) {
    const auto pair = hn::LoadU(d, reinterpret_cast<const std::uint16_t*>(codes) + i);
    const auto both = hn::And(hn::Or(pair, hn::ShiftRight<4>(pair)), hn::Set(d, 0xFF));
    hn::StoreU(hn::DemoteTo(bytes, hn::BitCast(hn::RebindToSigned<decltype(d)>(), both)), bytes,
               packed + i);
  }
}

HWY_INLINE void unpack_64(const std::uint8_t* packed, std::uint8_t* codes) {
  const hn::CappedTag<std::uint16_t, 32> d;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kStep / 2; i += lanes) {
    const auto both = hn::PromoteTo(d, hn::LoadU(bytes, packed + i));
    const auto pair = hn::And(hn::Or(both, hn::ShiftLeft<4>(both)), hn::Set(d, 0x0F0F));
    hn::StoreU(pair, d, reinterpret_cast<std::uint16_t*>(codes) + i);
  }
}

// codes_of_64 in bytes or in halves of bytes.
template <int kCodesPerByte, class Table, class Load>
HWY_INLINE void coded_64(const Table& table, const Load& load, std::uint8_t* stored) {
  if constexpr (kCodesPerByte == 1) {
    codes_of_64(table, load, stored);
  } else {
    HWY_ALIGN std::uint8_t codes[kStep];
    codes_of_64(table, load, codes);
    pack_64(codes, stored);
  }
}

// values_of_64 from them.
template <int kCodesPerByte, class Store>
HWY_INLINE void decoded_64(const NumberTable& table, const std::uint8_t* stored,
                           const Store& store) {
  if constexpr (kCodesPerByte == 1) {
    values_of_64(table, stored, store);
  } else {
    HWY_ALIGN std::uint8_t codes[kStep];
    unpack_64(stored, codes);
    values_of_64(table, codes, store);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#endif
