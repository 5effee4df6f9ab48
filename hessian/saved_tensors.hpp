// Tensors and values in a saved state of a long computation: float32 or float64, as they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"

namespace blockwise {

// A file that `write` fills, written beside and renamed.
void save_state(const std::filesystem::path& path, const std::function<void(Hdf5File&)>& write);

void write_tensor(Hdf5File& file, const std::string& path, const at::Tensor& tensor,
                  const char* doc);
// Into a tensor that is there. Throws InputError where the file's has another shape or type.
void read_into(const Hdf5File& file, const std::string& path, const at::Tensor& tensor);
// At most as many rows as `most`, each like those of `like` [., columns]. Throws InputError where
// the file has more, other columns, or another type.
at::Tensor read_rows_like(const Hdf5File& file, const std::string& path, const at::Tensor& like,
                          std::int64_t most);
// One-dimensional, of any length, or of this one. Throws InputError where it is another array.
std::vector<double> read_values(const Hdf5File& file, const std::string& path);
std::vector<double> read_values(const Hdf5File& file, const std::string& path, std::int64_t count);
// Opens a saved state and reads it; every error starts with the file's name.
void load_state(const std::filesystem::path& path,
                const std::function<void(const Hdf5File&)>& read);
// Throws InputError where the group's attribute is another number, or outside [0, most].
void expect_attribute(const Hdf5File& file, const std::string& group, const std::string& name,
                      std::int64_t value);
std::int64_t count_attribute(const Hdf5File& file, const std::string& group,
                             const std::string& name, std::int64_t most);

}  // namespace blockwise
