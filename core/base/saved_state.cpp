#include "core/base/saved_state.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The shape has been found right: it is what will be allocated.
at::Tensor read_shaped(const StateReader& state, const std::string& name,
                       const std::vector<std::int64_t>& shape, const at::TensorOptions& options) {
  auto tensor = at::empty(shape, options.device(at::kCPU));
  state.read(name, tensor);
  return tensor;
}

}  // namespace

void write_values(const StateWriter& state, const std::string& name,
                  const std::vector<double>& values, const char* doc) {
  state.array(name, at::tensor(values, at::kDouble), doc);
}

void read_into(const StateReader& state, const std::string& name, const at::Tensor& tensor) {
  const auto shape = state.shape(name);
  require_input(tensor.sizes() == shape, "{}: the shape is {}, this process has {}",
                state.place_of(name), shape_text(shape), shape_text(tensor.sizes().vec()));
  tensor.copy_(read_shaped(state, name, shape, tensor.options()));
}

std::vector<double> read_values(const StateReader& state, const std::string& name) {
  constexpr std::int64_t kMost = std::int64_t{1} << 27;  // 1 GiB
  const auto shape = state.shape(name);
  require_input(shape.size() == 1 && shape[0] >= 0 && shape[0] <= kMost,
                "{}: the shape is {}, a list of up to {} numbers is expected", state.place_of(name),
                shape_text(shape), kMost);
  const auto values = read_shaped(state, name, shape, at::kDouble);
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

std::vector<double> read_values(const StateReader& state, const std::string& name,
                                std::int64_t count) {
  auto values = read_values(state, name);
  require_input(std::ssize(values) == count, "{}: the shape is [{}], this process has [{}]",
                state.place_of(name), values.size(), count);
  return values;
}

void expect_number(const StateReader& state, const std::string& name, std::int64_t value) {
  const auto saved = state.number(name);
  require_input(saved == value, "{}: {} is {}, this process has {}", state.place(), name, saved,
                value);
}

std::int64_t read_count(const StateReader& state, const std::string& name, std::int64_t most) {
  const auto saved = state.number(name);
  require_input(saved >= 0 && saved <= most, "{}: {} is {}, allowed are 0 to {}", state.place(),
                name, saved, most);
  return saved;
}

}  // namespace blockwise
