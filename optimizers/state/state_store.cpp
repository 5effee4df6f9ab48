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

// What state without a codec would be.
at::Tensor meta_like(const StateSpec& spec) {
  return at::empty(spec.shape, at::TensorOptions().dtype(spec.type).device(at::kMeta));
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
  check_equal(specs_.size(), layout.parameters().size(), "parameters with state");
  for (const auto& parameter : layout.parameters()) names_.push_back(parameter.name);
  require_input(format.is_fp32() || device.is_cpu() || device.is_meta(),
                "optimizer.state: only fp32 on the device {}", device.str());
  for (const auto& of_parameter : specs_) {
    auto& codecs = codecs_.emplace_back();
    for (const auto& spec : of_parameter) codecs.push_back(format.codec(spec));
  }
  make_buffers(device);
  make_states();
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

// Views of the buffers.
void StateStore::make_states() {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    std::vector<at::Tensor> views;
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      views.push_back(codecs_[i][k] ? at::Tensor() : stored_[i][k][0].view(specs_[i][k].shape));
    }
    states_.emplace_back(std::move(views));
  }
}

bool StateStore::has_codec(std::size_t i) const {
  return std::ranges::any_of(codecs_[i], [](const auto& codec) { return codec != nullptr; });
}

bool StateStore::has_codecs() const {
  for (std::size_t i = 0; i < codecs_.size(); ++i) {
    if (has_codec(i)) return true;
  }
  return false;
}

// The parts of values [begin, begin + size): as many elements as so many values take.
std::vector<at::Tensor> StateStore::stored(std::size_t i, std::size_t k, std::int64_t begin,
                                           std::int64_t size) const {
  const auto before = codecs_[i][k]->parts(begin), own = codecs_[i][k]->parts(size);
  std::vector<at::Tensor> parts;
  for (std::size_t part = 0; part < own.size(); ++part) {
    parts.push_back(stored_[i][k][part].narrow(0, before[part].size, own[part].size));
  }
  return parts;
}

void StateStore::decode(std::size_t i, std::size_t k, std::int64_t begin,
                        const at::Tensor& values) const {
  if (!codecs_[i][k] || values.is_meta()) return;
  codecs_[i][k]->decode(stored(i, k, begin, values.numel()), values);
}

void StateStore::encode(std::size_t i, std::size_t k, std::int64_t begin, const at::Tensor& values,
                        std::uint64_t seed) const {
  if (!codecs_[i][k] || values.is_meta()) return;
  codecs_[i][k]->encode(
      values, stored(i, k, begin, values.numel()),
      stream_seed(seed, RandomStream::rounding, k, static_cast<std::uint64_t>(begin)));
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
        encodings.push_back({i, k, &checked(plain, values, meta_like(specs_[i][k]))});
      } else {
        plan_copies(stored);
      }
    }
  }
  for (const auto& [target, values] : copies) target.copy_(values->reshape(target.sizes()));
  for (const auto& [i, k, values] : encodings) encode(i, k, 0, values->contiguous(), i);
}

}  // namespace blockwise
