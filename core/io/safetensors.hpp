// safetensors files: a little-endian u64 header length, that many bytes of JSON, then one packed
// row-major buffer (the format of huggingface/safetensors). Read and written by memory mapping;
// written beside the name and renamed.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace blockwise {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct SafetensorsFile {
  // CPU tensors that share the mapping (kept alive by them); treat them as read-only. In the order
  // of their offsets.
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;

  // Throws InputError naming the file and the tensor when there is none.
  const at::Tensor& tensor(const std::string& name) const;
  std::string path;
};

// Throws InputError naming the file, the tensor and the value for every broken rule: a header
// length above 100 MB or the file, JSON that is none or has repeated names, an unknown dtype, a
// negative or overflowing shape, offsets that do not match dtype and shape, overlap, leave a gap or
// do not end at the file's end. Dtypes: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL; another of the
// format's (F8_E4M3, U32, ...) is called not supported.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

// Tensors are written in the given order as contiguous CPU data (copied where they are not). The
// file appears whole or not at all, synced. Throws std::runtime_error with the system's reason
// (disk full).
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// A tensor that is made when its turn to be written comes.
struct LateTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  at::ScalarType type = at::kFloat;
  std::function<at::Tensor()> make;
};
void write_safetensors(const std::filesystem::path& path, const std::vector<LateTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace blockwise
