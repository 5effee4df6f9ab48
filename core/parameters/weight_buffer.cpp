#include "core/parameters/weight_buffer.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace blockwise {

WeightBuffer::WeightBuffer(const ParameterLayout& layout, const WeightUnit& unit,
                           const std::vector<bool>& kept, const at::TensorOptions& options)
    : unit_(unit) {
  const auto& parameters = layout.parameters();
  for (auto i = unit.first; i < unit.last; ++i) {
    ranges_.push_back({parameters[i].offset, parameters[i].offset + parameters[i].size()});
    kept_.push_back(kept[i]);
  }
  for (const bool is_kept : {false, true}) {
    const auto size = elements_before(unit.elements.end, is_kept);
    const auto type = is_kept ? options.dtype() : caffe2::TypeMeta::fromScalarType(at::kBFloat16);
    kinds_.push_back({is_kept, at::zeros({size}, options.dtype(type))});
  }
  for (auto i = unit.first; i < unit.last; ++i) {
    const auto place = elements_before(parameters[i].offset, kept[i]);
    // detach() makes a leaf that shares the storage.
    tensors_.push_back(kinds_[kept[i] ? 1 : 0]
                           .values.narrow(0, place, parameters[i].size())
                           .view(parameters[i].shape)
                           .detach());
  }
}

std::int64_t WeightBuffer::elements_before(std::int64_t place, bool kept) const {
  std::int64_t count = 0;
  for (std::size_t k = 0; k < ranges_.size(); ++k) {
    if (kept_[k] != kept) continue;
    count += std::clamp<std::int64_t>(place - ranges_[k].begin, 0, ranges_[k].size());
  }
  return count;
}

std::int64_t WeightBuffer::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& kind : kinds_) bytes += static_cast<std::int64_t>(kind.values.nbytes());
  return bytes;
}

void WeightBuffer::drop() {
  for (const auto& kind : kinds_) {
    auto* storage = kind.values.storage().unsafeGetStorageImpl();
    storage->set_data_ptr_noswap(c10::DataPtr(nullptr, kind.values.device()));
    storage->set_nbytes(0);
  }
}

void WeightBuffer::take() {
  for (const auto& kind : kinds_) {
    auto* storage = kind.values.storage().unsafeGetStorageImpl();
    const auto bytes = kind.values.nbytes();
    storage->set_data_ptr_noswap(storage->allocator()->allocate(bytes));
    storage->set_nbytes(bytes);
  }
}

std::vector<WeightBuffer::Shared> WeightBuffer::shared(
    const std::vector<std::int64_t>& bounds) const {
  std::vector<Shared> all;
  for (const auto& kind : kinds_) {
    Shared one{kind.values, {}};
    for (const auto bound : bounds) one.bounds.push_back(elements_before(bound, kind.kept));
    if (one.bounds.back() > one.bounds.front()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace blockwise
