#include "core/parallel/bucket_exchange.hpp"

#include <ATen/ATen.h>

#include <chrono>
#include <utility>

namespace blockwise {

BucketExchange::BucketExchange(const Ranks& ranks, Owners owners, Receive receive)
    : ranks_(ranks), owners_(std::move(owners)), receive_(std::move(receive)) {}

Shares BucketExchange::shares_of(const GradientBucket& bucket) const {
  return owners_.empty() ? even_shares(bucket.size(), ranks_.size())
                         : owners_.within(bucket.begin, bucket.end);
}

void BucketExchange::send(const GradientBucket& bucket, const at::Tensor& values) {
  const auto shares = shares_of(bucket);
  const auto begin = shares[std::size_t(ranks_.rank())];
  const auto own = shares[std::size_t(ranks_.rank()) + 1] - begin;
  Sent sent{bucket, bucket.begin + begin, at::empty({ranks_.size(), own}, values.options()),
            nullptr};
  sent.transfer = ranks_.start_scatter(values, shares, sent.received.view({-1}));
  sent_.push_back(std::move(sent));
  if (std::int64_t(sent_.size()) == kMostReceived) receive_oldest();
}

void BucketExchange::wait_for(Ranks::Transfer& transfer) {
  const auto start = std::chrono::steady_clock::now();
  transfer.wait();
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void BucketExchange::receive_oldest() {
  const auto sent = std::move(sent_.front());
  sent_.pop_front();
  wait_for(*sent.transfer);
  add_by_tree(sent.received);
  receive_(sent.bucket, sent.begin, sent.received[0]);
}

void BucketExchange::receive_all() {
  while (!sent_.empty()) receive_oldest();
}

}  // namespace blockwise
