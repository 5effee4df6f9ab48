#include "core/parallel/gradient_sum.hpp"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "core/base/error.hpp"

namespace blockwise {
class GradientSum::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSum& sum, std::size_t parameter) : sum_(sum), parameter_(parameter) {}
  void operator()(const at::Tensor&) override {
    // Of gradients no graph is kept.
    const at::AutoDispatchBelowADInplaceOrView unversioned;
    sum_.gradient_is_there(parameter_);
  }

 private:
  GradientSum& sum_;
  std::size_t parameter_;
};

GradientSum::GradientSum(ParameterStore& store, const Ranks& ranks, Options options)
    : store_(store), ranks_(ranks), options_(std::move(options)) {
  check_equal(store.releases_gradients(), false, "a sum of gradients that are released");
  const auto width = std::int64_t(store.gradients().element_size());
  make_buckets(std::max<std::int64_t>(1, options_.bucket_bytes / width));
  if (options_.order == SumOrder::pairwise) {
    branches_.resize(std::size_t(std::bit_width(std::uint64_t(options_.micro_batches - 1))));
    for (auto& branch : branches_) branch = at::empty_like(store.gradients());
  }
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(store.tensors()[i],
                                                   std::make_unique<Hook>(*this, i));
  }
}

GradientSum::~GradientSum() {
  for (const auto& tensor : store_.tensors()) {
    torch::autograd::impl::set_post_acc_grad_hooks(tensor, nullptr);
  }
}

// Of that many elements each, whatever tensors they are of.
void GradientSum::make_buckets(std::int64_t elements) {
  const auto size = store_.layout().size();
  for (std::int64_t begin = 0; begin < size; begin += elements) {
    Bucket bucket;
    bucket.begin = begin;
    bucket.end = std::min(begin + elements, size);
    bucket.shares = shares_of(bucket);
    buckets_.push_back(std::move(bucket));
  }
  for (const auto& parameter : store_.layout().parameters()) {
    auto& in = in_.emplace_back();
    const auto first = parameter.offset / elements;
    const auto last = (parameter.offset + parameter.size() - 1) / elements;
    for (auto b = first; b <= last; ++b) {
      in.push_back(std::size_t(b));
      ++buckets_[std::size_t(b)].tensors;
    }
  }
}

Shares GradientSum::shares_of(const Bucket& bucket) const {
  const auto size = bucket.end - bucket.begin;
  if (options_.owners.empty()) return even_shares(size, ranks_.size());
  Shares shares;
  for (const auto bound : options_.owners) {
    shares.push_back(std::clamp<std::int64_t>(bound - bucket.begin, 0, size));
  }
  return shares;
}

void GradientSum::begin_step() {
  store_.zero_gradients();
  micro_batch_ = -1;
  waited_ = 0.0;
}

void GradientSum::begin_micro_batch() {
  ++micro_batch_;
  open_ = buckets_.size();
  for (auto& bucket : buckets_) bucket.missing = bucket.tensors;
}

void GradientSum::gradient_is_there(std::size_t parameter) {
  for (const auto b : in_[parameter]) --buckets_[b].missing;
  close_complete_buckets();
}

void GradientSum::close_complete_buckets() {
  while (open_ > 0 && buckets_[open_ - 1].missing <= 0) {
    auto& bucket = buckets_[--open_];
    if (options_.order == SumOrder::pairwise) add_micro_batches(bucket);
    if (!is_last() || ranks_.is_alone()) continue;
    send(bucket);
    on_their_way_.push_back(open_);
    // Not whenever one is there: every rank has to start the same transfers in the same order.
    if (std::int64_t(on_their_way_.size()) == kMostReceived) receive_oldest();
  }
}

// Tensors that no operation of the loss has read have no gradient: it is zero.
void GradientSum::end_micro_batch() {
  for (auto& bucket : buckets_) bucket.missing = 0;
  close_complete_buckets();
}

// A binary counter: number i of the micro-batches is joined with the branches that it completes,
// which are those of the lowest ones in i, and is kept as the next larger one; the last is joined
// with all that are left.
void GradientSum::add_micro_batches(const Bucket& bucket) {
  const auto cut = [&](const at::Tensor& flat) {
    return flat.narrow(0, bucket.begin, bucket.end - bucket.begin);
  };
  auto sum = cut(store_.gradients());
  std::size_t level = 0;
  for (; (micro_batch_ >> level & 1) != 0; ++level) sum.add_(cut(branches_[level]));
  if (!is_last()) {
    cut(branches_[level]).copy_(sum);
    sum.zero_();
    return;
  }
  for (; micro_batch_ >> level != 0; ++level) {
    if ((micro_batch_ >> level & 1) != 0) sum.add_(cut(branches_[level]));
  }
}

void GradientSum::send(Bucket& bucket) {
  const auto values = store_.gradients().narrow(0, bucket.begin, bucket.end - bucket.begin);
  const auto own =
      bucket.shares[std::size_t(ranks_.rank()) + 1] - bucket.shares[std::size_t(ranks_.rank())];
  bucket.received = at::empty({ranks_.size(), own}, values.options());
  bucket.transfer = ranks_.start_scatter(values, bucket.shares, bucket.received.view({-1}));
}

void GradientSum::wait_for(Ranks::Transfer& transfer) {
  const auto start = std::chrono::steady_clock::now();
  transfer.wait();
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void GradientSum::receive_oldest() {
  auto& bucket = buckets_[on_their_way_.front()];
  on_their_way_.pop_front();
  wait_for(*bucket.transfer);
  const auto begin = bucket.shares[std::size_t(ranks_.rank())];
  const auto own = bucket.received.size(1);
  if (own > 0) {
    add_by_tree(bucket.received);
    store_.gradients().narrow(0, bucket.begin + begin, own).copy_(bucket.received[0]);
  }
  bucket.received.reset();
  bucket.transfer.reset();
  if (!options_.owners.empty()) return;
  const auto values = store_.gradients().narrow(0, bucket.begin, bucket.end - bucket.begin);
  bucket.transfer = ranks_.start_share(values, bucket.shares);
}

void GradientSum::end_step() {
  check_equal(micro_batch_ + 1, options_.micro_batches, "micro-batches of a step");
  while (!on_their_way_.empty()) receive_oldest();
  for (auto& bucket : buckets_) {
    if (bucket.transfer) wait_for(*bucket.transfer);
    bucket.transfer.reset();
  }
}

}  // namespace blockwise
