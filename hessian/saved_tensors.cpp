#include "hessian/saved_tensors.hpp"

#include <ATen/ATen.h>

#include "core/error.hpp"

namespace blockwise {

void save_state(const std::filesystem::path& path, const std::function<void(Hdf5File&)>& write) {
  auto beside = path;
  beside += ".new";
  std::filesystem::remove(beside);
  auto file = Hdf5File::create(beside);
  file.set_attribute("/", "format", "blockwise-lanczos");
  write(file);
  file.close();
  std::filesystem::rename(beside, path);
}

void write_tensor(Hdf5File& file, const std::string& path, const at::Tensor& tensor,
                  const char* doc) {
  const auto data = tensor.to(at::kCPU).contiguous();
  const auto count = static_cast<std::size_t>(data.numel());
  if (data.scalar_type() == at::kDouble) {
    file.write_array(path, std::span<const double>(data.data_ptr<double>(), count),
                     data.sizes().vec(), "1", doc);
  } else {
    file.write_array(path, std::span<const float>(data.data_ptr<float>(), count),
                     data.sizes().vec(), "1", doc);
  }
}

at::Tensor read_tensor(const Hdf5File& file, const std::string& path, const at::Tensor& like) {
  auto tensor = at::empty(file.array_shape(path), like.options().device(at::kCPU));
  const auto count = static_cast<std::size_t>(tensor.numel());
  if (tensor.scalar_type() == at::kDouble) {
    file.read_array(path, std::span<double>(tensor.data_ptr<double>(), count));
  } else {
    file.read_array(path, std::span<float>(tensor.data_ptr<float>(), count));
  }
  return tensor.to(like.device());
}

std::vector<double> read_values(const Hdf5File& file, const std::string& path) {
  std::vector<double> values(static_cast<std::size_t>(file.array_shape(path).at(0)));
  file.read_array(path, std::span<double>(values));
  return values;
}

void expect_attribute(const Hdf5File& file, const std::string& group, const std::string& name,
                      std::int64_t value) {
  const auto saved = file.integer_attribute(group, name);
  require_input(saved == value, "{}: {} is {}, this process has {}", group, name, saved, value);
}

}  // namespace blockwise
