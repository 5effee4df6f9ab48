// A safetensors file: every tensor's bytes are read.
#include <ATen/core/Tensor.h>

#include "core/io/safetensors.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  const auto file = read_safetensors(folder.write("model.safetensors", bytes));
  for (const auto& [name, tensor] : file.tensors) {
    const auto* values = static_cast<const volatile std::uint8_t*>(tensor.data_ptr());
    for (std::size_t i = 0; i < tensor.nbytes(); ++i) static_cast<void>(values[i]);
  }
}
