// BucketExchange: buckets of gradients on their way between ranks. Each is cut into one share per
// rank; a rank receives its share of all others and adds it up (ranks.hpp). Those are the owners'
// shares where they are about even. Where one rank owns most of a bucket, which would receive it
// from all others while these have nothing to do, and keep it N times, shares are even, and sums
// are sent on to their owners: 1 / N more is sent.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "core/parallel/gradient_buckets.hpp"
#include "core/parallel/owners.hpp"

namespace blockwise {

class BucketExchange {
 public:
  // Buckets in memory as they are received, at most, besides sums that are sent on.
  static constexpr std::int64_t kMostReceived = 4;
  // Owners' shares are about even where nobody has more than so many even ones.
  static constexpr std::int64_t kMostUneven = 2;
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
  // The owners' shares of a bucket, counted from its begin.
  Shares shares_of(const GradientBucket& bucket) const;
  // Waits, and counts the seconds.
  void wait_for(Ranks::Transfer& transfer);
  double waited() const { return waited_; }
  void forget_waited() { waited_ = 0.0; }

 private:
  struct Sent {
    GradientBucket bucket;
    Shares shares;  // of which this rank's is received
    at::Tensor received;
    std::unique_ptr<Ranks::Transfer> transfer;
  };
  // A sum on its way to its owner, which this rank may be.
  struct SentOn {
    GradientBucket bucket;
    std::int64_t begin;  // of this rank's own share, of which this is the sum
    at::Tensor sum;
    std::unique_ptr<Ranks::Transfer> transfer;
  };
  void receive_oldest();
  void send_on(const Sent& of);
  void receive_sent_on();

  const Ranks& ranks_;
  Owners owners_;
  Receive receive_;
  std::deque<Sent> sent_;
  std::optional<SentOn> sent_on_;
  double waited_ = 0.0;
};

}  // namespace blockwise
