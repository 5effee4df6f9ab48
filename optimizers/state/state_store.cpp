#include "optimizers/state/state_store.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/mapped_file.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "optimizers/state/stored_numbers.hpp"

namespace blockwise {
namespace {

struct Extent {
  at::ScalarType type = at::kFloat;
  std::int64_t own = 0;                          // values that one parameter alone has
  std::map<std::int64_t, std::int64_t> by_turn;  // values of each turn

  std::int64_t largest_turn() const {
    std::int64_t largest = 0;
    for (const auto& [turn, size] : by_turn) largest = std::max(largest, size);
    return largest;
  }
  std::int64_t size() const {
    return checked_sum("values of the optimizer's state", own, largest_turn());
  }
};

using Extents = std::vector<std::pair<std::string, Extent>>;

// What a tensor of state takes in the buffers, by the buffers' names.
std::vector<StoredPart> stored_parts(const StateSpec& spec, const StateCodec* codec) {
  if (codec == nullptr) return {{spec.name, spec.size(), spec.type}};
  auto parts = codec->parts(spec.size());
  for (auto& part : parts) part.name = spec.name + "." + part.name;
  return parts;
}

// Returns where the part's values begin, after the parts of the same turn, or of none.
std::int64_t add(Extents& extents, const StoredPart& part, std::int64_t turn) {
  auto entry = std::ranges::find(extents, part.name, &Extents::value_type::first);
  if (entry == extents.end())
    entry = extents.insert(extents.end(), {part.name, {part.type, 0, {}}});
  require_input(entry->second.type == part.type,
                "the optimizer's state '{}' is {} for one parameter and {} for another", part.name,
                c10::toString(entry->second.type), c10::toString(part.type));
  auto& size = turn < 0 ? entry->second.own : entry->second.by_turn[turn];
  const auto begin = size;
  size = checked_sum("values of the optimizer's state", size, part.size);
  return begin;
}

std::int64_t bytes_of(const Extent& extent) {
  const auto width = static_cast<std::int64_t>(c10::elementSize(extent.type));
  return checked_product("bytes of the optimizer", {extent.size(), width});
}

std::int64_t bytes_of(const Extents& kinds) {
  std::int64_t bytes = 0;
  for (const auto& [name, extent] : kinds) {
    bytes = checked_sum("bytes of the optimizer", bytes, bytes_of(extent));
  }
  return bytes;
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

// `found` in place of state whose size the rule chooses.
const at::Tensor& checked_chosen(const std::string& name, const at::Tensor* found,
                                 const StateSpec& spec) {
  const auto size = found == nullptr ? 0 : found->numel();
  require_input(size == 0 || (size <= spec.size() && spec.chosen_from % size == 0),
                "the saved optimizer state '{}' has {} values, a divisor of {} up to {} is needed",
                name, size, spec.chosen_from, spec.size());
  return checked(name, found,
                 at::empty({size}, at::TensorOptions().dtype(spec.type).device(at::kMeta)));
}

void require_known_on(const at::Device& device, const StateCodec& codec, const StateSpec& spec) {
  if (!device.is_cuda() || codec.has_operations()) return;
  require_input(
      has_cuda_number_converter(),
      "optimizer.state: blockwise was built without a CUDA compiler, so it is fp32 on the "
      "device {}",
      device.str());
  require_input(codec.device_format() != nullptr,
                "optimizer.state: '{}' has a codec for the CPU alone, not for the device {}",
                spec.name, device.str());
}

}  // namespace

std::int64_t StateSpec::size() const {
  std::int64_t size = 1;
  for (const auto extent : shape) size = checked_product("values of a state", {size, extent});
  return size;
}

StateStore::StateStore(const ParameterLayout& layout, std::vector<std::vector<StateSpec>> specs,
                       at::Device device, const StateFormat& format)
    : device_(device), specs_(std::move(specs)) {
  check_equal(specs_.size(), layout.parameters().size(), "parameters with state");
  for (const auto& parameter : layout.parameters()) names_.push_back(parameter.name);
  for (const auto& of_parameter : specs_) {
    auto& codecs = codecs_.emplace_back();
    for (const auto& spec : of_parameter) {
      codecs.push_back(format.codec(spec));
      if (codecs.back()) require_known_on(device, *codecs.back(), spec);
    }
  }
  require_input(!format.is_paged() || device.is_cpu() || device.is_meta(),
                "optimizer.state.resident_mb: only 0 on the device {}", device.str());
  resident_bound_ = format.resident_bytes();
  make_buffers(device, format);
  cut_buffers();
  make_states();
}

void StateStore::make_buffers(at::Device device, const StateFormat& format) {
  Extents kinds, all;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto& spec = specs_[i][k];
      for (const auto& part : stored_parts(spec, codecs_[i][k].get())) {
        add(all, part, spec.turn);
        if (!spec.is_chosen_later()) begins_.push_back(add(kinds, part, spec.turn));
      }
    }
  }
  std::map<std::string, std::int64_t> first_of_turns;
  for (const auto& [name, extent] : kinds) first_of_turns[name] = extent.own;
  move_turns(first_of_turns);
  const auto bytes = bytes_of(all);
  const bool paged = format.is_paged() && device.is_cpu();
  require_available(paged ? std::min(bytes, resident_bound_) : bytes, device,
                    "the optimizer's state");
  for (const auto& [name, extent] : kinds) {
    const auto options = at::TensorOptions().dtype(extent.type);
    buffers_.emplace_back(name, paged ? at::empty({extent.size()}, options.device(at::kMeta))
                                      : at::zeros({extent.size()}, options.device(device)));
  }
  if (paged) page_buffers(format);
  for (std::size_t b = 0; b < kinds.size(); ++b) {
    const auto& [name, extent] = kinds[b];
    if (extent.by_turn.empty()) continue;
    by_turns_.emplace_back(name + "/*",
                           buffers_[b].second.narrow(0, extent.own, extent.largest_turn()));
  }
}

// State by turns lies behind what one parameter alone has.
void StateStore::move_turns(const std::map<std::string, std::int64_t>& first_of_turns) {
  auto begin = begins_.begin();
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto& spec = specs_[i][k];
      if (spec.is_chosen_later()) continue;
      for (const auto& part : stored_parts(spec, codecs_[i][k].get())) {
        if (spec.turn >= 0) *begin += first_of_turns.at(part.name);
        ++begin;
      }
    }
  }
}

// Which values of the buffers belong to which parameter.
void StateStore::cut_buffers() {
  std::map<std::string, at::Tensor> by_name(buffers_.begin(), buffers_.end());
  auto begin = begins_.begin();
  stored_.clear();
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    auto& of_parameter = stored_.emplace_back(specs_[i].size());
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      if (specs_[i][k].is_chosen_later()) {
        of_parameter[k].push_back(
            at::zeros({0}, at::TensorOptions().dtype(specs_[i][k].type).device(device_)));
        continue;
      }
      for (const auto& part : stored_parts(specs_[i][k], codecs_[i][k].get())) {
        of_parameter[k].push_back(by_name.at(part.name).narrow(0, *begin++, part.size));
      }
    }
  }
}

// The number of the buffer that a tensor is a view of.
std::size_t StateStore::buffer_with(const at::Tensor& view) const {
  const auto found = std::ranges::find_if(
      buffers_, [&](const auto& buffer) { return buffer.second.is_alias_of(view); });
  return static_cast<std::size_t>(found - buffers_.begin());
}

// Puts the buffers, which are sizes so far, into a file, each from a page's beginning on.
void StateStore::page_buffers(const StateFormat& format) {
  constexpr std::int64_t kAligned = 1 << 16;  // a multiple of every system's page
  std::vector<std::int64_t> begin;
  std::int64_t end = 0;
  for (const auto& [name, buffer] : buffers_) {
    begin.push_back(end);
    end += (static_cast<std::int64_t>(buffer.nbytes()) + kAligned - 1) / kAligned * kAligned;
  }
  cut_buffers();
  std::vector<std::vector<ByteRange>> uses(specs_.size());
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (const auto& parts : stored_[i]) {
      for (const auto& part : parts) {
        if (part.numel() == 0) continue;  // of a size that the rule chooses later: in memory
        const auto width = static_cast<std::int64_t>(part.element_size());
        const auto b = buffer_with(part);
        uses[i].push_back(
            {begin[b] + part.storage_offset() * width, static_cast<std::int64_t>(part.nbytes())});
      }
    }
  }
  constexpr PagedContent kContent{"the optimizer's state", "optimizer.state.resident_mb"};
  pages_ = std::make_shared<PagedFile>(kContent, Paging{resident_bound_, format.folder}, end,
                                       std::move(uses));
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    auto& buffer = buffers_[b].second;
    buffer = at::from_blob(
        pages_->data() + begin[b], buffer.sizes(), [pages = pages_](void*) {},
        at::TensorOptions().dtype(buffer.scalar_type()));
  }
}

void StateStore::begin_use(std::size_t i) const {
  if (pages_) pages_->begin_use(i);
}

void StateStore::end_use(std::size_t i) const {
  if (pages_) pages_->end_use(i);
}

void StateStore::evict() const {
  if (pages_) pages_->evict_all();
}

std::int64_t StateStore::resident_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, size] : this->bytes()) bytes += size;
  return resident_bound_ > 0 ? std::min(bytes, resident_bound_) : bytes;
}

// Views of the buffers; what is not in them itself, so that a size chosen later is seen here.
void StateStore::make_states() {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    std::vector<at::Tensor> views;
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto& stored = stored_[i][k][0];
      views.push_back(codecs_[i][k]                    ? at::Tensor()
                      : specs_[i][k].is_chosen_later() ? stored
                                                       : stored.view(specs_[i][k].shape));
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
  const auto& codec = *codecs_[i][k];
  const auto parts = stored(i, k, begin, values.numel());
  if (!values.is_cuda() || codec.has_operations()) return codec.decode(parts, values);
  cuda_number_converter().decode(*codec.device_format(), stored_numbers(parts), values.numel(),
                                 values.data_ptr<float>(), current_stream(device_));
}

std::uint64_t StateStore::rounding_seed(std::uint64_t seed, std::size_t k, std::int64_t begin) {
  return stream_seed(seed, RandomStream::rounding, k, static_cast<std::uint64_t>(begin));
}

void StateStore::encode(std::size_t i, std::size_t k, std::int64_t begin, const at::Tensor& values,
                        std::uint64_t seed) const {
  if (!codecs_[i][k] || values.is_meta()) return;
  const auto& codec = *codecs_[i][k];
  const auto parts = stored(i, k, begin, values.numel());
  const auto of_piece = rounding_seed(seed, k, begin);
  if (!values.is_cuda() || codec.has_operations()) return codec.encode(values, parts, of_piece);
  cuda_number_converter().encode(*codec.device_format(), values.data_ptr<float>(), values.numel(),
                                 stored_numbers(parts), of_piece, current_stream(device_));
}

std::vector<std::pair<std::string, std::int64_t>> StateStore::bytes() const {
  std::vector<std::pair<std::string, std::int64_t>> bytes;
  for (const auto& [name, tensor] : buffers_) {
    bytes.emplace_back(name, static_cast<std::int64_t>(tensor.nbytes()));
  }
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto& spec = specs_[i][k];
      if (!spec.is_chosen_later()) continue;
      const auto chosen = stored_[i][k][0].numel();
      auto entry = std::ranges::find(bytes, spec.name, &decltype(bytes)::value_type::first);
      if (entry == bytes.end()) entry = bytes.insert(bytes.end(), {spec.name, 0});
      entry->second += (chosen > 0 ? chosen : spec.size()) *
                       static_cast<std::int64_t>(c10::elementSize(spec.type));
    }
  }
  return bytes;
}

void StateStore::clear(std::size_t i) const {
  for (const auto& parts : stored_[i]) {
    for (const auto& part : parts) part.zero_();
  }
}

// Nothing of what parameters have by turns.
NamedTensors StateStore::by_parameter(std::size_t i, std::size_t k) const {
  const auto& spec = specs_[i][k];
  if (spec.turn >= 0) return {};
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
  tensors.insert(tensors.end(), by_turns_.begin(), by_turns_.end());
  return tensors;
}

// Of state that is in a file neither what was loaded nor where it came from needs to be resident.
void StateStore::leave(const at::Tensor& loaded) const {
  if (!pages_ || !loaded.is_contiguous()) return;
  evict();
  page_out({static_cast<const std::byte*>(loaded.data_ptr()), loaded.nbytes()});
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
  std::vector<Encoding> encodings, choices;
  const auto plan_copies = [&](const NamedTensors& wanted) {
    for (const auto& [name, tensor] : wanted) {
      copies.emplace_back(tensor, &checked(name, look_up(name), tensor));
    }
  };
  plan_copies(flat ? buffers_ : by_turns_);
  for (std::size_t i = 0; !flat && i < specs_.size(); ++i) {
    for (std::size_t k = 0; k < specs_[i].size(); ++k) {
      const auto stored = by_parameter(i, k);
      if (stored.empty()) continue;
      const auto plain = specs_[i][k].name + "/" + names_[i];
      const auto* values = look_up(plain);
      if (specs_[i][k].is_chosen_later()) {
        choices.push_back({i, k, &checked_chosen(plain, values, specs_[i][k])});
      } else if (codecs_[i][k] && values != nullptr && look_up(stored[0].first) == nullptr) {
        encodings.push_back({i, k, &checked(plain, values, meta_like(specs_[i][k]))});
      } else {
        plan_copies(stored);
      }
    }
  }
  for (const auto& [i, k, values] : choices) {
    states_[i].choose_size(k, values->numel());
    states_[i].load(k).copy_(values->reshape({-1}));
  }
  for (const auto& [target, values] : copies) {
    target.copy_(values->reshape(target.sizes()));
    leave(*values);
  }
  for (const auto& [i, k, values] : encodings) {
    encode(i, k, 0, values->to(device_).contiguous(), i);
    leave(*values);
  }
  evict();
}

}  // namespace blockwise
