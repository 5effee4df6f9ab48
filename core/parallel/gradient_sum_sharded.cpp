#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>

#include "core/base/error.hpp"
#include "core/parallel/bucket_exchange.hpp"
#include "core/parallel/gradient_buckets.hpp"
#include "core/parallel/gradient_sum.hpp"
#include "core/parameters/gradient_release.hpp"

namespace blockwise {
namespace {

class ShardedGradientSum : public GradientSum {
 public:
  ShardedGradientSum(ParameterStore& store, const Ranks& ranks, const Options& options,
                     const at::Tensor& own)
      : layout_(store.layout()),
        ranks_(ranks),
        options_(options),
        own_(own),
        buckets_(store.layout(), options.owners,
                 std::max<std::int64_t>(1, options.bucket_bytes / std::int64_t(own.element_size())),
                 [this](std::size_t b) { send(b); }),
        staged_(buckets_.buckets().size()),
        exchange_(
            ranks, options.owners,
            [this, &ranks](const auto&, std::int64_t begin, const at::Tensor& sum) {
              if (sum.numel() == 0) return;
              own_.narrow(0, options_.owners.place(ranks.rank(), begin), sum.numel()).add_(sum);
            }) {
    release_.emplace(store, [this](std::size_t parameter, const at::Tensor& gradient) {
      stage(parameter, gradient);
      buckets_.arrive(parameter);
    });
  }

  void begin_step() override {
    own_.zero_();
    micro_batches_ = 0;
    exchange_.forget_waited();
  }
  void begin_micro_batch() override {
    ++micro_batches_;
    buckets_.open();
  }
  void end_micro_batch() override {
    buckets_.close_all();
    exchange_.receive_all();
  }
  void end_step() override {
    check_equal(micro_batches_, options_.micro_batches, "micro-batches of a step");
    ranks_.meet();
  }
  double waited() const override { return exchange_.waited(); }

 private:
  at::Tensor& staged(std::size_t b) {
    auto& values = staged_[b];
    if (!values.defined()) values = at::zeros({buckets_.buckets()[b].size()}, own_.options());
    return values;
  }
  // Copies a gradient into its buckets.
  void stage(std::size_t parameter, const at::Tensor& gradient) {
    const at::NoGradGuard no_grad;
    const auto& of = layout_.parameters()[parameter];
    const auto flat = gradient.view({-1});
    for (const auto b : buckets_.of(parameter)) {
      const auto& bucket = buckets_.buckets()[b];
      const auto begin = std::max(of.offset, bucket.begin);
      const auto count = std::min(of.offset + of.size(), bucket.end) - begin;
      staged(b)
          .narrow(0, begin - bucket.begin, count)
          .copy_(flat.narrow(0, begin - of.offset, count));
    }
  }
  void send(std::size_t b) {
    const at::NoGradGuard no_grad;
    exchange_.send(buckets_.buckets()[b], staged(b));
    staged_[b].reset();
  }

  const ParameterLayout& layout_;
  const Ranks& ranks_;
  Options options_;
  at::Tensor own_;
  GradientBuckets buckets_;
  std::vector<at::Tensor> staged_;  // by bucket; undefined before its first gradient
  BucketExchange exchange_;
  std::int64_t micro_batches_ = 0;
  std::optional<GradientRelease> release_;
};

}  // namespace

std::unique_ptr<GradientSum> make_sharded_sum(ParameterStore& store, const Ranks& ranks,
                                              const GradientSum::Options& options,
                                              const at::Tensor& own) {
  return std::make_unique<ShardedGradientSum>(store, ranks, options, own);
}

}  // namespace blockwise
