// Model files of llm.c (gpt2_124M.bin and its kin), little-endian: 256 int32 of header (20240326;
// version 3: float32, 5: bfloat16; longest sequence, vocabulary, layers, heads, width, vocabulary
// padded to a multiple of 128), then 16 tensors, each stacked over the layers: wte [padded, width],
// wpe, ln_1 gain and bias, QKV weight and bias, attention output, ln_2, MLP in, MLP out, ln_f.
// Matrices are [out, in] and the head is tied.
#pragma once

#include <filesystem>
#include <memory>

#include "core/model.hpp"

namespace blockwise {

// Throws InputError naming the file, the field and the value for a wrong header, or a length that
// is not what the header says.
std::unique_ptr<ModelSpec> read_llm_c_config(const std::filesystem::path& file);

// Copies the weights; the padding of the vocabulary is dropped.
void read_llm_c_weights(const std::filesystem::path& file, ParameterStore& store);

}  // namespace blockwise
