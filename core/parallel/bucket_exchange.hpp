// BucketExchange: buckets of gradients on their way between ranks. Each is cut into the ranks'
// shares; a rank receives its own share of all others and adds it up (ranks.hpp).
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "core/parallel/gradient_buckets.hpp"
#include "core/parallel/owners.hpp"

namespace blockwise {

class BucketExchange {
 public:
  // Buckets in memory as they are received, at most.
  static constexpr std::int64_t kMostReceived = 4;
  // The sum over ranks of elements [begin, begin + sum.numel()) of the flat buffer, this rank's
  // share of a bucket. In the same order on every rank.
  using Receive =
      std::function<void(const GradientBucket& bucket, std::int64_t begin, const at::Tensor& sum)>;

  // owners: empty: of every bucket even shares.
  BucketExchange(const Ranks& ranks, Owners owners, Receive receive);

  // values: [bucket.size()] contiguous, kept until they are sent. Where kMostReceived are on their
  // way the oldest is received: not whenever one is there, since every rank has to start the same
  // transfers in the same order.
  void send(const GradientBucket& bucket, const at::Tensor& values);
  void receive_all();
  // The shares of a bucket, counted from its begin.
  Shares shares_of(const GradientBucket& bucket) const;
  // Waits, and counts the seconds.
  void wait_for(Ranks::Transfer& transfer);
  double waited() const { return waited_; }
  void forget_waited() { waited_ = 0.0; }

 private:
  struct Sent {
    GradientBucket bucket;
    std::int64_t begin;  // of this rank's share
    at::Tensor received;
    std::unique_ptr<Ranks::Transfer> transfer;
  };
  void receive_oldest();

  const Ranks& ranks_;
  Owners owners_;
  Receive receive_;
  std::deque<Sent> sent_;
  double waited_ = 0.0;
};

}  // namespace blockwise
