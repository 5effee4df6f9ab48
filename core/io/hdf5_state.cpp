#include "core/io/hdf5_state.hpp"

#include <ATen/ATen.h>

#include <span>
#include <utility>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// As a span of the type that the tensor, contiguous on the host, has.
template <typename Use>
void with_elements(const at::Tensor& tensor, const Use& use) {
  const auto count = static_cast<std::size_t>(tensor.numel());
  if (tensor.scalar_type() == at::kDouble) {
    use(std::span<double>(tensor.data_ptr<double>(), count));
  } else {
    use(std::span<float>(tensor.data_ptr<float>(), count));
  }
}

}  // namespace

Hdf5StateWriter::Hdf5StateWriter(Hdf5File& file, std::string group)
    : file_(file), group_(std::move(group)) {
  file_.create_group(group_);
}

void Hdf5StateWriter::number(const std::string& name, std::int64_t value) const {
  file_.set_attribute(group_, name, value);
}

void Hdf5StateWriter::array(const std::string& name, const at::Tensor& values,
                            const char* doc) const {
  const auto host = values.to(at::kCPU).contiguous();
  with_elements(host, [&]<typename T>(std::span<T> elements) {
    file_.write_array(group_ + "/" + name, std::span<const T>(elements), host.sizes().vec(), "1",
                      doc);
  });
}

bool Hdf5StateReader::has_array(const std::string& name) const { return file_.has(place_of(name)); }

std::int64_t Hdf5StateReader::number(const std::string& name) const {
  return file_.integer_attribute(group_, name);
}

std::vector<std::int64_t> Hdf5StateReader::shape(const std::string& name) const {
  return file_.array_shape(place_of(name));
}

void Hdf5StateReader::read(const std::string& name, const at::Tensor& into) const {
  with_elements(into, [&](auto elements) { file_.read_array(place_of(name), elements); });
}

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

}  // namespace blockwise
