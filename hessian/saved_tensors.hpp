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
// In the dtype and on the device of `like`. Throws InputError where the file has another type.
at::Tensor read_tensor(const Hdf5File& file, const std::string& path, const at::Tensor& like);
std::vector<double> read_values(const Hdf5File& file, const std::string& path);
// Throws InputError where the group's attribute is another number.
void expect_attribute(const Hdf5File& file, const std::string& group, const std::string& name,
                      std::int64_t value);

}  // namespace blockwise
