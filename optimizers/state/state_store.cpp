#include "optimizers/state/state_store.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/memory/memory_meter.hpp"

namespace blockwise {
namespace {

struct Extent {
  std::int64_t size = 0;
  at::ScalarType type = at::kFloat;
};

// Of every name, in the order of appearance.
std::vector<std::pair<std::string, Extent>> extents(
    const std::vector<std::vector<StateSpec>>& specs) {
  std::vector<std::pair<std::string, Extent>> found;
  for (const auto& of_parameter : specs) {
    for (const auto& spec : of_parameter) {
      const auto same = [&](const auto& entry) { return entry.first == spec.name; };
      auto entry = std::ranges::find_if(found, same);
      if (entry == found.end()) {
        entry = found.insert(found.end(), {spec.name, {0, spec.type}});
      }
      require_input(entry->second.type == spec.type,
                    "the optimizer's state '{}' is {} for one parameter and {} for another",
                    spec.name, c10::toString(entry->second.type), c10::toString(spec.type));
      entry->second.size =
          checked_sum("values of the optimizer's state", entry->second.size, spec.size());
    }
  }
  return found;
}

void require_memory(const std::vector<std::pair<std::string, Extent>>& kinds, at::Device device) {
  std::int64_t bytes = 0;
  for (const auto& [name, extent] : kinds) {
    const auto width = static_cast<std::int64_t>(c10::elementSize(extent.type));
    bytes = checked_sum("bytes of the optimizer", bytes,
                        checked_product("bytes of the optimizer", {extent.size, width}));
  }
  require_available(bytes, device, "the optimizer's state");
}

const at::Tensor* find(const NamedTensors& tensors, const std::string& name) {
  const auto found =
      std::ranges::find_if(tensors, [&](const auto& entry) { return entry.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

// `found` in place of a tensor of `wanted`'s size and type.
const at::Tensor& checked(const std::string& name, const at::Tensor* found,
                          const at::Tensor& wanted) {
  require_input(found != nullptr, "the saved optimizer state has no '{}'", name);
  require_input(found->scalar_type() == wanted.scalar_type(),
                "the saved optimizer state '{}' is {}, {} is needed", name,
                c10::toString(found->scalar_type()), c10::toString(wanted.scalar_type()));
  require_input(found->numel() == wanted.numel(),
                "the saved optimizer state '{}' has {} values, {} are needed: was the partition "
                "another one?",
                name, found->numel(), wanted.numel());
  return *found;
}

}  // namespace

std::int64_t StateSpec::size() const {
  std::int64_t size = 1;
  for (const auto extent : shape) size = checked_product("values of a state", {size, extent});
  return size;
}

StateStore::StateStore(const ParameterLayout& layout, std::vector<std::vector<StateSpec>> specs,
                       at::Device device)
    : specs_(std::move(specs)) {
  check_equal(specs_.size(), layout.blocks().size(), "parameters with state");
  for (const auto& block : layout.blocks()) names_.push_back(block.name);
  const auto kinds = extents(specs_);
  require_memory(kinds, device);
  std::map<std::string, std::pair<std::size_t, std::int64_t>> next;  // buffer, first free value
  for (const auto& [name, extent] : kinds) {
    next[name] = {buffers_.size(), 0};
    buffers_.emplace_back(
        name, at::zeros({extent.size}, at::TensorOptions().dtype(extent.type).device(device)));
  }
  for (const auto& of_parameter : specs_) {
    std::vector<at::Tensor> views;
    for (const auto& spec : of_parameter) {
      auto& [buffer, free] = next[spec.name];
      views.push_back(buffers_[buffer].second.narrow(0, free, spec.size()).view(spec.shape));
      free += spec.size();
    }
    states_.emplace_back(std::move(views));
  }
}

std::vector<std::pair<std::string, std::int64_t>> StateStore::bytes() const {
  std::vector<std::pair<std::string, std::int64_t>> bytes;
  for (const auto& [name, tensor] : buffers_) {
    bytes.emplace_back(name, static_cast<std::int64_t>(tensor.nbytes()));
  }
  return bytes;
}

NamedTensors StateStore::by_parameter() const {
  NamedTensors tensors;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      tensors.emplace_back(specs_[i][k].name + "/" + names_[i], states_[i].load(k));
    }
  }
  return tensors;
}

void StateStore::load(const NamedTensors& saved) {
  const bool flat = !buffers_.empty() && std::ranges::any_of(buffers_, [&](const auto& buffer) {
    return find(saved, buffer.first) != nullptr;
  });
  const auto wanted = flat ? buffers_ : by_parameter();
  std::map<std::string, const at::Tensor*> by_name;
  for (const auto& [name, tensor] : saved) by_name.emplace(name, &tensor);
  std::vector<const at::Tensor*> values;  // nothing is copied before everything is found right
  for (const auto& [name, tensor] : wanted) {
    const auto found = by_name.find(name);
    values.push_back(&checked(name, found == by_name.end() ? nullptr : found->second, tensor));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    wanted[i].second.copy_(values[i]->reshape(wanted[i].second.sizes()));
  }
}

}  // namespace blockwise
