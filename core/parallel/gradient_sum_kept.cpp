#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/parallel/bucket_exchange.hpp"
#include "core/parallel/gradient_buckets.hpp"
#include "core/parallel/gradient_sum.hpp"

namespace blockwise {
namespace {

class KeptGradientSum : public GradientSum {
 public:
  KeptGradientSum(ParameterStore& store, const Ranks& ranks, const Options& options);
  ~KeptGradientSum() override;

  void begin_step() override;
  void begin_micro_batch() override;
  void end_micro_batch() override { buckets_.close_all(); }
  void end_step() override;
  double waited() const override { return exchange_.waited(); }

 private:
  class Hook;
  void close(const GradientBucket& bucket);
  void receive(const GradientBucket& bucket, std::int64_t begin, const at::Tensor& sum);
  void add_micro_batches(const GradientBucket& bucket);
  at::Tensor gradients_of(const GradientBucket& bucket) const {
    return store_.gradients().narrow(0, bucket.begin, bucket.size());
  }
  bool is_last() const { return micro_batch_ + 1 == options_.micro_batches; }

  ParameterStore& store_;
  const Ranks& ranks_;
  Options options_;
  GradientBuckets buckets_;
  BucketExchange exchange_;
  std::vector<std::unique_ptr<Ranks::Transfer>> handed_out_;  // sums on their way to all ranks
  std::vector<at::Tensor> branches_;                          // sums of 1, 2, 4, ... micro-batches
  std::int64_t micro_batch_ = -1;
};

class KeptGradientSum::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientBuckets& buckets, std::size_t parameter)
      : buckets_(buckets), parameter_(parameter) {}
  void operator()(const at::Tensor&) override {
    // Of gradients no graph is kept.
    const at::AutoDispatchBelowADInplaceOrView unversioned;
    buckets_.arrive(parameter_);
  }

 private:
  GradientBuckets& buckets_;
  std::size_t parameter_;
};

KeptGradientSum::KeptGradientSum(ParameterStore& store, const Ranks& ranks, const Options& options)
    : store_(store),
      ranks_(ranks),
      options_(options),
      buckets_(store.layout(), options.owners,
               std::max<std::int64_t>(1, options.bucket_bytes / store.gradients().element_size()),
               [this](std::size_t b) { close(buckets_.buckets()[b]); }),
      exchange_(ranks, options.owners,
                [this](const auto& bucket, std::int64_t begin, const at::Tensor& sum) {
                  receive(bucket, begin, sum);
                }) {
  branches_.resize(std::size_t(further_buffers(options_.order, options_.micro_batches)));
  for (auto& branch : branches_) branch = at::empty_like(store.gradients());
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(store.tensors()[i],
                                                   std::make_unique<Hook>(buckets_, i));
  }
}

KeptGradientSum::~KeptGradientSum() {
  for (const auto& tensor : store_.tensors()) {
    torch::autograd::impl::set_post_acc_grad_hooks(tensor, nullptr);
  }
}

void KeptGradientSum::begin_step() {
  store_.zero_gradients();
  micro_batch_ = -1;
  exchange_.forget_waited();
}

void KeptGradientSum::begin_micro_batch() {
  ++micro_batch_;
  buckets_.open();
}

void KeptGradientSum::close(const GradientBucket& bucket) {
  if (options_.order == SumOrder::pairwise) add_micro_batches(bucket);
  if (is_last() && !ranks_.is_alone()) exchange_.send(bucket, gradients_of(bucket));
}

void KeptGradientSum::receive(const GradientBucket& bucket, std::int64_t begin,
                              const at::Tensor& sum) {
  store_.gradients().narrow(0, begin, sum.numel()).copy_(sum);
  if (!options_.owners.empty()) return;
  handed_out_.push_back(ranks_.start_share(gradients_of(bucket), exchange_.shares_of(bucket)));
}

// A binary counter: number i of the micro-batches is joined with the branches that it completes,
// which are those of the lowest ones in i, and is kept as the next larger one; the last is joined
// with all that are left.
void KeptGradientSum::add_micro_batches(const GradientBucket& bucket) {
  const auto branch = [&](std::size_t level) {
    return branches_[level].narrow(0, bucket.begin, bucket.size());
  };
  auto sum = gradients_of(bucket);
  std::size_t level = 0;
  for (; (micro_batch_ >> level & 1) != 0; ++level) sum.add_(branch(level));
  if (!is_last()) {
    branch(level).copy_(sum);
    sum.zero_();
    return;
  }
  for (; micro_batch_ >> level != 0; ++level) {
    if ((micro_batch_ >> level & 1) != 0) sum.add_(branch(level));
  }
}

void KeptGradientSum::end_step() {
  check_equal(micro_batch_ + 1, options_.micro_batches, "micro-batches of a step");
  exchange_.receive_all();
  for (const auto& transfer : handed_out_) exchange_.wait_for(*transfer);
  handed_out_.clear();
  ranks_.meet();
}

}  // namespace

std::unique_ptr<GradientSum> make_kept_sum(ParameterStore& store, const Ranks& ranks,
                                           const GradientSum::Options& options) {
  return std::make_unique<KeptGradientSum>(store, ranks, options);
}

}  // namespace blockwise
