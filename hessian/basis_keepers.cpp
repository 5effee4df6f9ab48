#include "hessian/basis_keepers.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/base/error.hpp"
#include "hessian/krylov_basis.hpp"

namespace blockwise {
namespace {

// What is asked for, of which basis, and its numbers. Integers are exact in double up to 2^53.
struct Message {
  KeptRequest request = KeptRequest::drop;
  std::int64_t basis = 0, a = 0, b = 0, c = 0;
};

Message message_of_first(const Ranks& ranks, const Message& own) {
  std::int64_t numbers[] = {static_cast<std::int64_t>(own.request), own.basis, own.a, own.b, own.c};
  ranks.take_first(at::from_blob(numbers, {std::ssize(numbers)}, at::kLong));
  return {static_cast<KeptRequest>(numbers[0]), numbers[1], numbers[2], numbers[3], numbers[4]};
}

// Numbers of rank 0.
at::Tensor numbers_of_first(const Ranks& ranks, const double* values, std::int64_t count) {
  auto numbers = at::empty({count}, at::kDouble);
  if (values != nullptr) std::copy_n(values, count, numbers.data_ptr<double>());
  ranks.take_first(numbers);
  return numbers;
}

// c is summed over ranks in their order.
void add_ranks(const Ranks& ranks, std::vector<double>& c) {
  const auto all = ranks.gather(c);
  for (std::size_t i = 0; i < c.size(); ++i) {
    c[i] = 0.0;
    for (std::int64_t rank = 0; rank < ranks.size(); ++rank) {
      c[i] += all[std::size_t(rank) * c.size() + i];
    }
  }
}

}  // namespace

// ---- rank 0 -------------------------------------------------------------------------------------

SpreadVectors::SpreadVectors(const BasisKeepers& keepers, std::int64_t size, std::int64_t capacity,
                             at::ScalarType dtype)
    : keepers_(keepers),
      number_(keepers.number_of_new_basis()),
      shares_(even_shares(size, keepers.ranks().size())) {
  ask(KeptRequest::make, size, capacity, dtype == at::kDouble ? 1 : 0);
}

SpreadVectors::~SpreadVectors() {
  try {
    ask(KeptRequest::drop);
  } catch (const std::exception&) {  // somebody has gone, who is named by who misses it next
  }
}

void SpreadVectors::ask(KeptRequest request, std::int64_t a, std::int64_t b, std::int64_t c) const {
  keepers_.announce();
  message_of_first(keepers_.ranks(), {request, number_, a, b, c});
}

void SpreadVectors::append(const at::Tensor& v, double scale) const {
  ask(KeptRequest::append);
  numbers_of_first(keepers_.ranks(), &scale, 1);
  keepers_.ranks().take_first(v);
}

void SpreadVectors::add_coefficients(const at::Tensor& w, std::vector<double>& c) const {
  ask(KeptRequest::coefficients);
  keepers_.ranks().take_first(w);
  add_ranks(keepers_.ranks(), c);
}

void SpreadVectors::hand_out(const std::vector<double>& c, const at::Tensor& w) const {
  ask(KeptRequest::subtract);
  numbers_of_first(keepers_.ranks(), c.data(), std::ssize(c));
  keepers_.ranks().take_first(w);
}

void SpreadVectors::collect(const at::Tensor& w) const {
  keepers_.ranks().start_share(w, shares_)->wait();
}

void SpreadVectors::read(std::int64_t vector, const at::Tensor& whole) const {
  ask(KeptRequest::read, vector);
  keepers_.ranks().start_share(whole, shares_)->wait();
}

void SpreadVectors::rotate(const double* rotation, std::int64_t count, std::int64_t kept) const {
  ask(KeptRequest::rotate, count, kept);
  numbers_of_first(keepers_.ranks(), rotation, count * kept);
}

void SpreadVectors::truncate(std::int64_t count) const { ask(KeptRequest::truncate, count); }

// ---- the others ---------------------------------------------------------------------------------

struct BasisService::Kept {
  Kept(const Ranks& of, std::int64_t size_, std::int64_t capacity, at::ScalarType dtype)
      : ranks(of),
        size(size_),
        shares(even_shares(size, of.size())),
        options(at::TensorOptions(dtype).device(of.device())),
        own(elements(), capacity, options) {}

  std::int64_t begin() const { return shares[std::size_t(ranks.rank())]; }
  std::int64_t elements() const { return shares[std::size_t(ranks.rank()) + 1] - begin(); }
  at::Tensor share_of(const at::Tensor& whole) const {
    return whole.narrow(0, begin(), elements());
  }
  at::Tensor vector_of_first() const {
    auto whole = at::empty({size}, options);
    ranks.take_first(whole);
    return whole;
  }

  void append() {
    const auto scale = numbers_of_first(ranks, nullptr, 1).item<double>();
    own.append(share_of(vector_of_first()), scale);
  }
  void coefficients() const {
    auto c = own.coefficients(share_of(vector_of_first()));
    add_ranks(ranks, c);
  }
  void subtract() const {
    const auto c = numbers_of_first(ranks, nullptr, own.count());
    const auto w = vector_of_first();
    own.subtract({c.data_ptr<double>(), c.data_ptr<double>() + c.numel()}, share_of(w));
    ranks.start_share(w, shares)->wait();
  }
  void read(std::int64_t vector) const {
    const auto whole = at::empty({size}, options);
    share_of(whole).copy_(own.vector(vector));
    ranks.start_share(whole, shares)->wait();
  }
  void rotate(std::int64_t count, std::int64_t kept) {
    own.rotate(numbers_of_first(ranks, nullptr, count * kept).data_ptr<double>(), kept);
  }

  const Ranks& ranks;
  std::int64_t size;
  Shares shares;
  at::TensorOptions options;
  KrylovBasis own;
};

BasisService::BasisService() = default;
BasisService::~BasisService() = default;

void BasisService::serve(const Ranks& ranks) {
  const auto asked = message_of_first(ranks, {});
  if (asked.request == KeptRequest::make) {
    kept_[asked.basis] =
        std::make_unique<Kept>(ranks, asked.a, asked.b, asked.c == 1 ? at::kDouble : at::kFloat);
    return;
  }
  auto& kept = *kept_.at(asked.basis);
  switch (asked.request) {
    case KeptRequest::append:
      return kept.append();
    case KeptRequest::coefficients:
      return kept.coefficients();
    case KeptRequest::subtract:
      return kept.subtract();
    case KeptRequest::read:
      return kept.read(asked.a);
    case KeptRequest::rotate:
      return kept.rotate(asked.a, asked.b);
    case KeptRequest::truncate:
      return kept.own.truncate(asked.a);
    default:
      kept_.erase(asked.basis);
  }
}

}  // namespace blockwise
