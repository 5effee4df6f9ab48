#include "hessian/saved_tensors.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "core/base/error.hpp"

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

namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The file's shape has been found right: it is what will be allocated.
at::Tensor read_shaped(const Hdf5File& file, const std::string& path,
                       const std::vector<std::int64_t>& shape, const at::TensorOptions& options) {
  auto tensor = at::empty(shape, options.device(at::kCPU));
  const auto count = static_cast<std::size_t>(tensor.numel());
  if (tensor.scalar_type() == at::kDouble) {
    file.read_array(path, std::span<double>(tensor.data_ptr<double>(), count));
  } else {
    file.read_array(path, std::span<float>(tensor.data_ptr<float>(), count));
  }
  return tensor;
}

}  // namespace

void read_into(const Hdf5File& file, const std::string& path, const at::Tensor& tensor) {
  const auto shape = file.array_shape(path);
  require_input(tensor.sizes() == shape, "{}: the shape is {}, this process has {}", path,
                shape_text(shape), shape_text(tensor.sizes().vec()));
  tensor.copy_(read_shaped(file, path, shape, tensor.options()));
}

at::Tensor read_rows_like(const Hdf5File& file, const std::string& path, const at::Tensor& like,
                          std::int64_t most) {
  const auto shape = file.array_shape(path);
  require_input(shape.size() == 2 && shape[0] >= 0 && shape[0] <= most && shape[1] == like.size(-1),
                "{}: the shape is {}, this process has room for {} rows of {}", path,
                shape_text(shape), most, like.size(-1));
  return read_shaped(file, path, shape, like.options()).to(like.device());
}

std::vector<double> read_values(const Hdf5File& file, const std::string& path) {
  constexpr std::int64_t kMost = std::int64_t{1} << 27;  // 1 GiB
  const auto shape = file.array_shape(path);
  require_input(shape.size() == 1 && shape[0] >= 0 && shape[0] <= kMost,
                "{}: the shape is {}, a list of up to {} numbers is expected", path,
                shape_text(shape), kMost);
  std::vector<double> values(static_cast<std::size_t>(shape[0]));
  file.read_array(path, std::span<double>(values));
  return values;
}

std::vector<double> read_values(const Hdf5File& file, const std::string& path, std::int64_t count) {
  auto values = read_values(file, path);
  require_input(std::ssize(values) == count, "{}: the shape is [{}], this process has [{}]", path,
                values.size(), count);
  return values;
}

void load_state(const std::filesystem::path& path,
                const std::function<void(const Hdf5File&)>& read) {
  const auto file = Hdf5File::open_for_reading(path);
  try {
    read(file);
  } catch (const InputError& error) {
    const std::string text = error.what(), name = path.string();
    throw InputError(fmt::format("{}{}. Without this file that part is measured again.",
                                 text.starts_with(name) ? "" : name + ": ", text));
  }
}

void expect_attribute(const Hdf5File& file, const std::string& group, const std::string& name,
                      std::int64_t value) {
  const auto saved = file.integer_attribute(group, name);
  require_input(saved == value, "{}: {} is {}, this process has {}", group, name, saved, value);
}

std::int64_t count_attribute(const Hdf5File& file, const std::string& group,
                             const std::string& name, std::int64_t most) {
  const auto saved = file.integer_attribute(group, name);
  require_input(saved >= 0 && saved <= most, "{}: {} is {}, allowed are 0 to {}", group, name,
                saved, most);
  return saved;
}

}  // namespace blockwise
