#include "tests/optimizers/kernels/scalar_codes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/base/float_bits.hpp"
#include "core/base/mix64.hpp"

namespace blockwise::testing::scalar {
namespace {

using kernels::from_fp8;
using kernels::kCompandedBlock;
using kernels::kLargestFp8;
using kernels::to_fp8;

// Calls run(number, begin, end) for every block of [0, n).
template <typename Run>
void over_blocks(std::int64_t n, std::int64_t block, const Run& run) {
  for (std::int64_t begin = 0; begin < n; begin += block) {
    run(begin / block, begin, std::min(n, begin + block));
  }
}

float largest(const float* x, std::int64_t begin, std::int64_t end) {
  float most = 0.0F;
  for (auto i = begin; i < end; ++i) most = std::max(most, std::abs(x[i]));
  return most;
}

// The largest in size, with its sign: it has the code of 1, which maps without a -1 keep exactly.
float signed_largest(const float* x, std::int64_t begin, std::int64_t end) {
  float low = 0.0F, high = 0.0F;
  for (auto i = begin; i < end; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  return -low > high ? low : high;
}

// 1 / s overflows where s is subnormal: there the values are divided.
struct Scaling {
  float scale, inverse;
  explicit Scaling(float s) : scale(s), inverse(s != 0.0F ? 1.0F / s : 0.0F) {}
  float operator()(float x) const {
    return std::isfinite(inverse) ? x * inverse : std::clamp(x / scale, -1.0F, 1.0F);
  }
};

// 0 of what is not finite, as x86 has it.
template <typename Code>
Code cast(float code) {
  return std::isfinite(code) ? static_cast<Code>(code) : Code{0};
}

// The largest finite one at most.
std::uint16_t bf16_above(float x) {
  return static_cast<std::uint16_t>(std::min((bits_of(x) + 0xFFFFU) >> 16, 0x7F7FU));
}

}  // namespace

CodeTable::CodeTable(std::span<const float> ascending, Zero zero) : size_(ascending.size()) {
  std::copy(ascending.begin(), ascending.end(), values_.begin());
  std::fill(midpoints_.begin(), midpoints_.end(), std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i + 1 < size_; ++i) midpoints_[i] = 0.5F * (values_[i] + values_[i + 1]);
  const auto nearest = [&](float x) {
    const auto end = midpoints_.begin() + static_cast<std::ptrdiff_t>(size_) - 1;
    return static_cast<std::uint8_t>(std::lower_bound(midpoints_.begin(), end, x) -
                                     midpoints_.begin());
  };
  first_.resize(1U << 16);
  for (std::uint32_t upper = 0; upper < first_.size(); ++upper) {
    const float a = float_of(upper << 16), b = float_of((upper << 16) | 0xFFFFU);
    if (!std::isfinite(b)) continue;
    first_[upper] = nearest(std::min(a, b));
    if (nearest(std::max(a, b)) > first_[upper] + 1) {
      throw std::invalid_argument("the values of a code table are too close to each other");
    }
  }
  if (zero == Zero::for_zero_only) {
    least_positive_ = static_cast<int>(
        std::upper_bound(values_.data(), values_.data() + size_, 0.0F) - values_.data());
  }
}

std::uint8_t CodeTable::code(float x) const {
  const int low = first_[bits_of(x) >> 16];
  const int near = low + (x > midpoints_[static_cast<std::size_t>(low)] ? 1 : 0);
  return static_cast<std::uint8_t>(x > 0.0F ? std::max(near, least_positive_) : near);
}

void encode_8bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const Scaling scaled(stored.scales[number] = signed_largest(x, begin, end));
    for (auto i = begin; i < end; ++i) stored.codes[i] = table.code(scaled(x[i]));
  });
}

void decode_8bit(const CodeTable& table, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) x[i] = table.value(stored.codes[i]) * stored.scales[number];
  });
}

void encode_4bit(const CodeTable& table, const float* x, std::int64_t n, std::int64_t block,
                 const Codes& stored) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const Scaling scaled(stored.scales[number] = signed_largest(x, begin, end));
    for (auto i = begin; i < end; i += 2) {
      const int low = table.code(scaled(x[i]));
      const int high = i + 1 < end ? table.code(scaled(x[i + 1])) : 0;
      stored.codes[i / 2] = static_cast<std::uint8_t>(low | (high << 4));
    }
  });
}

void decode_4bit(const CodeTable& table, const Codes& stored, std::int64_t n, std::int64_t block,
                 float* x) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto both = stored.codes[i / 2];
      const auto code = static_cast<std::uint8_t>(i % 2 == 0 ? both & 15U : both >> 4);
      x[i] = table.value(code) * stored.scales[number];
    }
  });
}

void encode_fp8(const float* x, std::int64_t n, std::int64_t block, CodeTable::Zero zero,
                const Codes& stored) {
  const std::uint8_t least = zero == CodeTable::Zero::for_zero_only ? 1 : 0;
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const float most = largest(x, begin, end);
    stored.scales[number] = most / kLargestFp8;
    const Scaling scaled(most);
    for (auto i = begin; i < end; ++i) {
      const auto code = to_fp8(std::clamp(scaled(x[i]), -1.0F, 1.0F) * kLargestFp8);
      stored.codes[i] = x[i] > 0.0F ? std::max(code, least) : code;
    }
  });
}

void decode_fp8(const Codes& stored, std::int64_t n, std::int64_t block, float* x) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) x[i] = from_fp8(stored.codes[i]) * stored.scales[number];
  });
}

Codebook::Codebook(std::span<const float> ascending) {
  std::copy_n(ascending.begin(), values_.size(), values_.begin());
  midpoints_.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i + 1 < values_.size(); ++i) {
    midpoints_[i] = 0.5F * (values_[i] + values_[i + 1]);
  }
}

std::uint8_t Codebook::code(float x) const {
  std::size_t code = 0;
  for (std::size_t half = 128; half > 0; half /= 2) {
    if (x > midpoints_[code + half - 1]) code += half;
  }
  return static_cast<std::uint8_t>(code);
}

void encode_codebook(const Codebook& book, const float* x, std::int64_t n, std::int64_t block,
                     const Codes& stored) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const Scaling scaled(stored.scales[number] = largest(x, begin, end));
    for (auto i = begin; i < end; ++i) stored.codes[i] = book.code(scaled(x[i]));
  });
}

void decode_codebook(const Codebook& book, const Codes& stored, std::int64_t n, std::int64_t block,
                     float* x) {
  over_blocks(n, block, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) x[i] = book.value(stored.codes[i]) * stored.scales[number];
  });
}

void encode_rank1(const CodeTable& table, const float* x, const CodeShape& shape,
                  const RankOneCodes& stored) {
  const auto rows = shape.rows, columns = shape.columns;
  std::fill(stored.columns, stored.columns + columns, 0.0F);
  for (std::int64_t i = 0; i < rows; ++i) {
    stored.rows[i] = largest(x, i * columns, (i + 1) * columns);
    for (std::int64_t j = 0; j < columns; ++j) {
      stored.columns[j] = std::max(stored.columns[j], x[i * columns + j]);
    }
  }
  const auto code = [&](std::int64_t at) {
    const float scale = std::min(stored.rows[at / columns], stored.columns[at % columns]);
    return static_cast<int>(table.code(Scaling(scale)(x[at])));
  };
  for (std::int64_t at = 0; at < rows * columns; at += 2) {
    const int high = at + 1 < rows * columns ? code(at + 1) : 0;
    stored.codes[at / 2] = static_cast<std::uint8_t>(code(at) | (high << 4));
  }
}

void decode_rank1(const CodeTable& table, const RankOneCodes& stored, const CodeShape& shape,
                  float* x) {
  const auto columns = shape.columns;
  for (std::int64_t at = 0; at < shape.rows * columns; ++at) {
    const auto both = stored.codes[at / 2];
    const auto code = static_cast<std::uint8_t>(at % 2 == 0 ? both & 15U : both >> 4);
    x[at] = table.value(code) * std::min(stored.rows[at / columns], stored.columns[at % columns]);
  }
}

void encode_softsign(const float* x, std::int64_t n, std::int8_t* codes, std::uint16_t* scales) {
  over_blocks(n, kCompandedBlock, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    scales[number] = bf16_above(largest(x, begin, end));
    const Scaling scaled(from_bf16(scales[number]));
    for (auto i = begin; i < end; ++i) {
      const float y = scaled(x[i]);
      codes[i] = cast<std::int8_t>(std::nearbyint(254.0F * y / (1.0F + std::abs(y))));
    }
  });
}

void decode_softsign(const std::int8_t* codes, const std::uint16_t* scales, std::int64_t n,
                     float* x) {
  over_blocks(n, kCompandedBlock, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const float scale = from_bf16(scales[number]);
    for (auto i = begin; i < end; ++i) {
      const float z = static_cast<float>(codes[i]) / 127.0F;
      x[i] = z / (2.0F - std::abs(z)) * scale;
    }
  });
}

void encode_root(const float* x, std::int64_t n, std::uint8_t* codes, std::uint16_t* scales) {
  over_blocks(n, kCompandedBlock, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    scales[number] = bf16_above(std::sqrt(largest(x, begin, end)));
    const Scaling scaled(from_bf16(scales[number]));
    for (auto i = begin; i < end; ++i) {
      const float code = std::nearbyint(255.0F * scaled(std::sqrt(x[i])));
      codes[i] = cast<std::uint8_t>(x[i] > 0.0F ? std::max(code, 1.0F) : 0.0F);
    }
  });
}

void decode_root(const std::uint8_t* codes, const std::uint16_t* scales, std::int64_t n, float* x) {
  over_blocks(n, kCompandedBlock, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    const float scale = from_bf16(scales[number]);
    for (auto i = begin; i < end; ++i) {
      const float root = static_cast<float>(codes[i]) / 255.0F * scale;
      x[i] = root * root;
    }
  });
}

void encode_bf16(const float* x, std::int64_t n, std::uint64_t seed, std::uint16_t* bits) {
  constexpr std::int64_t kPerNumber = 4;  // 16 bits of 64 each
  over_blocks(n, kPerNumber, [&](std::int64_t number, std::int64_t begin, std::int64_t end) {
    auto random = mix64(seed ^ mix64(static_cast<std::uint64_t>(number)));
    for (auto i = begin; i < end; ++i, random >>= 16) {
      bits[i] = random_bf16(x[i], static_cast<std::uint16_t>(random));
    }
  });
}

}  // namespace blockwise::testing::scalar
