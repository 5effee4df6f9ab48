#include "core/parallel/gradient_buckets.hpp"

#include <algorithm>
#include <utility>

namespace blockwise {

GradientBuckets::GradientBuckets(const ParameterLayout& layout, const Owners& owners,
                                 std::int64_t elements, Close close)
    : close_(std::move(close)) {
  const auto units =
      owners.empty() ? std::vector<Shares>{Shares{0, layout.size()}} : owners.units();
  for (const auto& unit : units) {
    for (auto begin = unit.front(); begin < unit.back(); begin += elements) {
      buckets_.push_back({begin, std::min(begin + elements, unit.back())});
    }
  }
  tensors_.resize(buckets_.size(), 0);
  missing_ = tensors_;
  for (const auto& parameter : layout.parameters()) {
    auto& of = of_.emplace_back();
    const auto first =
        std::ranges::upper_bound(buckets_, parameter.offset, {}, &GradientBucket::end);
    const auto end = parameter.offset + parameter.size();
    for (auto b = std::size_t(first - buckets_.begin());
         b < buckets_.size() && buckets_[b].begin < end; ++b) {
      of.push_back(b);
      ++tensors_[b];
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
