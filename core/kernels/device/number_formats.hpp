// Float32 numbers in fewer bits on a CUDA device: state of optimizers by blocks that share a scale
// (optimizers/kernels/state_codes.hpp), and masters beside their bfloat16 weights
// (core/parameters/master_weights.hpp). The formulas and, number by number, the bits are those of
// the CPU. One kernel per call, one pass over both forms, no synchronisation; pointers are the
// device's and need not be aligned beyond their types.
#pragma once

#include <array>
#include <cstdint>

namespace blockwise {

struct NumberFormat {
  enum class Kind {
    table_8bit,  // values times the scale that is the block's largest, with its sign
    table_4bit,  // the same, two codes to a byte
    fp8,
    softsign,  // of scales in bf16
    root,
    bf16,  // rounded at random
    lossless_master,
    eight_bit_master,
    kahan_master,
    stochastic_master,
    nearest_master
  };
  Kind kind = Kind::bf16;
  bool keeps_positive = false;  // fp8: x > 0 never becomes 0
  // Of codes: what is multiplied by the scale, and of tables the code of x / s as the number of
  // thresholds below it, infinity behind the last.
  std::array<float, 256> values{};
  std::array<float, 256> thresholds{};
};

// Codes with their scales, weights with what is beside them, or bfloat16 alone.
struct StoredNumbers {
  void* numbers = nullptr;
  void* beside = nullptr;
};

class NumberConverter {
 public:
  virtual ~NumberConverter() = default;
  // stream: a cudaStream_t; null: the default one. Throw std::runtime_error with the device's words
  // where a launch fails.
  virtual void decode(const NumberFormat& format, const StoredNumbers& stored, std::int64_t n,
                      float* x, void* stream) const = 0;
  // seed: of rounding at random; numbers are counted from 0.
  virtual void encode(const NumberFormat& format, const float* x, std::int64_t n,
                      const StoredNumbers& stored, std::uint64_t seed, void* stream) const = 0;
};

// Throws std::runtime_error where the library was built without a CUDA compiler.
const NumberConverter& cuda_number_converter();

// Whether it was built with one.
bool has_cuda_number_converter();

}  // namespace blockwise
