#include "core/parallel/bucket_exchange.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace blockwise {

BucketExchange::BucketExchange(const Ranks& ranks, Owners owners, Receive receive)
    : ranks_(ranks), owners_(std::move(owners)), receive_(std::move(receive)) {}

Shares BucketExchange::shares_of(const GradientBucket& bucket) const {
  return owners_.empty() ? even_shares(bucket.size(), ranks_.size())
                         : owners_.within(bucket.begin, bucket.end);
}

namespace {

bool about_even(const Shares& shares, std::int64_t ranks) {
  std::int64_t most = 0;
  for (std::size_t r = 0; r + 1 < shares.size(); ++r) {
    most = std::max(most, shares[r + 1] - shares[r]);
  }
  return most * ranks <= BucketExchange::kMostUneven * shares.back();
}

// Of each of the shares, elements that are in [begin, end), too.
std::vector<std::int64_t> within(const Shares& shares, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> counts;
  for (std::size_t r = 0; r + 1 < shares.size(); ++r) {
    const auto first = std::max(shares[r], begin), last = std::min(shares[r + 1], end);
    counts.push_back(std::max<std::int64_t>(0, last - first));
  }
  return counts;
}

}  // namespace

void BucketExchange::send(const GradientBucket& bucket, const at::Tensor& values) {
  auto shares = shares_of(bucket);
  if (!about_even(shares, ranks_.size())) shares = even_shares(bucket.size(), ranks_.size());
  const auto r = std::size_t(ranks_.rank());
  const auto own = shares[r + 1] - shares[r];
  Sent sent{bucket, shares, at::empty({ranks_.size(), own}, values.options()), nullptr};
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
  if (sent.shares != shares_of(sent.bucket)) {
    send_on(sent);
    return;
  }
  receive_(sent.bucket, sent.bucket.begin + sent.shares[std::size_t(ranks_.rank())],
           sent.received[0]);
}

// Parts of a share in the order of their owners, and of the own share in the order of who has
// summed them: both as they lie in the bucket.
void BucketExchange::send_on(const Sent& of) {
  receive_sent_on();
  const auto owners = shares_of(of.bucket);
  const auto r = std::size_t(ranks_.rank());
  const auto begin = owners[r], end = owners[r + 1];
  SentOn on{of.bucket, of.bucket.begin + begin, at::empty({end - begin}, of.received.options()),
            nullptr};
  on.transfer =
      ranks_.start_exchange(of.received[0], within(owners, of.shares[r], of.shares[r + 1]), on.sum,
                            within(of.shares, begin, end));
  sent_on_ = std::move(on);
}

void BucketExchange::receive_sent_on() {
  if (!sent_on_) return;
  wait_for(*sent_on_->transfer);
  receive_(sent_on_->bucket, sent_on_->begin, sent_on_->sum);
  sent_on_.reset();
}

void BucketExchange::receive_all() {
  while (!sent_.empty()) receive_oldest();
  receive_sent_on();
}

}  // namespace blockwise
