#include "optimizers/state/state_store.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/memory/memory_meter.hpp"

namespace blockwise {
namespace {

struct Extent {
  std::int64_t size = 0;
  at::ScalarType type = at::kFloat;
};

using Extents = std::vector<std::pair<std::string, Extent>>;

// What a tensor of state takes in the buffers, by the buffers' names.
std::vector<StoredPart> stored_parts(const StateSpec& spec, const StateCodec* codec) {
  if (codec == nullptr) return {{spec.name, spec.size(), spec.type}};
  auto parts = codec->parts(spec.size());
  for (auto& part : parts) part.name = spec.name + "." + part.name;
  return parts;
}

void add(Extents& extents, const StoredPart& part) {
  auto entry = std::ranges::find(extents, part.name, &Extents::value_type::first);
  if (entry == extents.end()) entry = extents.insert(extents.end(), {part.name, {0, part.type}});
  require_input(entry->second.type == part.type,
                "the optimizer's state '{}' is {} for one parameter and {} for another", part.name,
                c10::toString(entry->second.type), c10::toString(part.type));
  entry->second.size =
      checked_sum("values of the optimizer's state", entry->second.size, part.size);
}

void require_memory(const Extents& kinds, at::Device device) {
  std::int64_t bytes = 0;
  for (const auto& [name, extent] : kinds) {
    const auto width = static_cast<std::int64_t>(c10::elementSize(extent.type));
    bytes = checked_sum("bytes of the optimizer", bytes,
                        checked_product("bytes of the optimizer", {extent.size, width}));
  }
  require_available(bytes, device, "the optimizer's state");
}

const at::Tensor* find(const NamedTensors& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &NamedTensors::value_type::first);
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
                       at::Device device, const StateFormat& format)
    : specs_(std::move(specs)) {
  check_equal(specs_.size(), layout.blocks().size(), "parameters with state");
  for (const auto& block : layout.blocks()) names_.push_back(block.name);
  require_input(format.is_fp32() || device.is_cpu() || device.is_meta(),
                "optimizer.state: only fp32 on the device {}", device.str());
  for (const auto& of_parameter : specs_) {
    auto& codecs = codecs_.emplace_back();
    for (const auto& spec : of_parameter) codecs.push_back(format.codec(spec));
  }
  make_buffers(device);
  make_states(device);
}

void StateStore::make_buffers(at::Device device) {
  Extents kinds;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      for (const auto& part : stored_parts(specs_[i][k], codecs_[i][k].get())) add(kinds, part);
    }
  }
  require_memory(kinds, device);
  std::map<std::string, std::pair<std::size_t, std::int64_t>> next;  // buffer, first free value
  for (const auto& [name, extent] : kinds) {
    next[name] = {buffers_.size(), 0};
    buffers_.emplace_back(
        name, at::zeros({extent.size}, at::TensorOptions().dtype(extent.type).device(device)));
  }
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    auto& of_parameter = stored_.emplace_back(specs_[i].size());
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      for (const auto& part : stored_parts(specs_[i][k], codecs_[i][k].get())) {
        auto& [buffer, free] = next[part.name];
        of_parameter[k].push_back(buffers_[buffer].second.narrow(0, free, part.size));
        free += part.size;
      }
    }
  }
}

// Views of the buffers, and of float32 memory where there is a codec.
void StateStore::make_states(at::Device device) {
  std::vector<std::int64_t> largest;  // by number of the state
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    largest.resize(std::max(largest.size(), specs_[i].size()), 0);
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      if (codecs_[i][k]) largest[k] = std::max(largest[k], specs_[i][k].size());
    }
  }
  std::vector<at::Tensor> decoded;
  for (const auto size : largest) {
    decoded.push_back(at::empty({size}, at::TensorOptions().dtype(at::kFloat).device(device)));
  }
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    std::vector<at::Tensor> views;
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto& spec = specs_[i][k];
      const auto values = codecs_[i][k] ? decoded[k].narrow(0, 0, spec.size()) : stored_[i][k][0];
      views.push_back(values.view(spec.shape));
    }
    states_.emplace_back(std::move(views));
  }
}

void StateStore::open(std::size_t i) const {
  for (std::size_t k = 0; k < codecs_[i].size(); ++k) {
    const auto& values = states_[i].load(k);
    if (codecs_[i][k] && !values.is_meta()) codecs_[i][k]->decode(stored_[i][k], values);
  }
}

void StateStore::close(std::size_t i, std::uint64_t seed) const {
  for (std::size_t k = 0; k < codecs_[i].size(); ++k) {
    const auto& values = states_[i].load(k);
    if (codecs_[i][k] && !values.is_meta()) {
      codecs_[i][k]->encode(values, stored_[i][k], stream_seed(seed, RandomStream::rounding, k));
    }
  }
}

bool StateStore::has_codecs() const {
  return std::ranges::any_of(codecs_, [](const auto& of_parameter) {
    return std::ranges::any_of(of_parameter, [](const auto& codec) { return codec != nullptr; });
  });
}

std::vector<std::pair<std::string, std::int64_t>> StateStore::bytes() const {
  std::vector<std::pair<std::string, std::int64_t>> bytes;
  for (const auto& [name, tensor] : buffers_) {
    bytes.emplace_back(name, static_cast<std::int64_t>(tensor.nbytes()));
  }
  return bytes;
}

NamedTensors StateStore::by_parameter(std::size_t i, std::size_t k) const {
  const auto& spec = specs_[i][k];
  if (!codecs_[i][k]) return {{spec.name + "/" + names_[i], states_[i].load(k)}};
  NamedTensors tensors;
  const auto parts = stored_parts(spec, codecs_[i][k].get());
  for (std::size_t part = 0; part < parts.size(); ++part) {
    tensors.emplace_back(parts[part].name + "/" + names_[i], stored_[i][k][part]);
  }
  return tensors;
}

NamedTensors StateStore::by_parameter() const {
  NamedTensors tensors;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      for (auto& tensor : by_parameter(i, k)) tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

// Nothing is copied before everything is found right.
void StateStore::load(const NamedTensors& saved) {
  const bool flat = std::ranges::any_of(
      buffers_, [&](const auto& buffer) { return find(saved, buffer.first) != nullptr; });
  std::map<std::string, const at::Tensor*> by_name;
  for (const auto& [name, tensor] : saved) by_name.emplace(name, &tensor);
  const auto look_up = [&](const std::string& name) {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : found->second;
  };
  std::vector<std::pair<at::Tensor, const at::Tensor*>> copies;
  std::vector<Encoding> encodings;
  const auto plan_copies = [&](const NamedTensors& wanted) {
    for (const auto& [name, tensor] : wanted) {
      copies.emplace_back(tensor, &checked(name, look_up(name), tensor));
    }
  };
  if (flat) plan_copies(buffers_);
  for (std::size_t i = 0; !flat && i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto stored = by_parameter(i, k);
      const auto plain = specs_[i][k].name + "/" + names_[i];
      const auto* values = look_up(plain);
      if (codecs_[i][k] && values != nullptr && look_up(stored[0].first) == nullptr) {
        encodings.push_back({i, k, &checked(plain, values, states_[i].load(k))});
      } else {
        plan_copies(stored);
      }
    }
  }
  for (const auto& [target, values] : copies) target.copy_(values->reshape(target.sizes()));
  for (const auto& [i, k, values] : encodings) {
    codecs_[i][k]->encode(values->contiguous(), stored_[i][k],
                          stream_seed(0, RandomStream::rounding, i, k));
  }
}

}  // namespace blockwise
