#include "core/parallel/gradient_buckets.hpp"

#include <algorithm>
#include <utility>

namespace blockwise {

GradientBuckets::GradientBuckets(const ParameterLayout& layout, std::int64_t elements, Close close)
    : close_(std::move(close)) {
  for (std::int64_t begin = 0; begin < layout.size(); begin += elements) {
    buckets_.push_back({begin, std::min(begin + elements, layout.size())});
  }
  tensors_.resize(buckets_.size(), 0);
  missing_ = tensors_;
  for (const auto& parameter : layout.parameters()) {
    auto& of = of_.emplace_back();
    const auto first = parameter.offset / elements;
    const auto last = (parameter.offset + parameter.size() - 1) / elements;
    for (auto b = first; b <= last; ++b) {
      of.push_back(std::size_t(b));
      ++tensors_[std::size_t(b)];
    }
  }
}

void GradientBuckets::open() {
  open_ = buckets_.size();
  missing_ = tensors_;
}

void GradientBuckets::arrive(std::size_t parameter) {
  for (const auto b : of_[parameter]) --missing_[b];
  close_complete();
}

void GradientBuckets::close_all() {
  std::ranges::fill(missing_, 0);
  close_complete();
}

void GradientBuckets::close_complete() {
  while (open_ > 0 && missing_[open_ - 1] == 0) close_(--open_);
}

}  // namespace blockwise
