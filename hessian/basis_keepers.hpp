// Krylov bases that several processes keep, each some of the elements of every vector: rank 0 runs
// the process, the others hold their share and take part in what reads all of it. A basis then
// takes 1 / N of its bytes on each of N ranks.
//
// Sent for each of n elements: once for a vector that is appended or read back, once for
// coefficients, twice for what is subtracted. Sums over elements have another order than those of
// one process, in double.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/parallel/rank_service.hpp"

namespace blockwise {

class KrylovBasis;
enum class KeptRequest { make, drop, append, coefficients, subtract, read, rotate, truncate };

// Of rank 0: who keeps, and how they are asked.
class BasisKeepers {
 public:
  // announce: says that a request to the others' BasisService follows (Curvature::lead_beside()).
  BasisKeepers(const Ranks& ranks, std::function<void()> announce)
      : ranks_(ranks), announce_(std::move(announce)) {}
  BasisKeepers(const BasisKeepers&) = delete;
  BasisKeepers& operator=(const BasisKeepers&) = delete;

  const Ranks& ranks() const { return ranks_; }
  void announce() const { announce_(); }
  std::int64_t number_of_new_basis() const { return ++bases_; }

 private:
  const Ranks& ranks_;
  std::function<void()> announce_;
  mutable std::int64_t bases_ = 0;  // so far
};

// Of rank 0: the shares that the others keep of one basis, until it is gone. Errors: those of
// Ranks; the destructor keeps them.
class SpreadVectors {
 public:
  // Room for `capacity` vectors of `size` elements, float32 or float64. Keeps a reference.
  SpreadVectors(const BasisKeepers& keepers, std::int64_t size, std::int64_t capacity,
                at::ScalarType dtype);
  ~SpreadVectors();
  SpreadVectors(const SpreadVectors&) = delete;
  SpreadVectors& operator=(const SpreadVectors&) = delete;

  std::int64_t own_elements() const { return shares_[1]; }  // the first ones, which rank 0 keeps
  // As KrylovBasis has them, of the others' elements; vectors are whole.
  void append(const at::Tensor& v, double scale) const;
  void add_coefficients(const at::Tensor& w, std::vector<double>& c) const;
  // Around what rank 0 subtracts from its own elements of w.
  void hand_out(const std::vector<double>& c, const at::Tensor& w) const;
  void collect(const at::Tensor& w) const;
  void read(std::int64_t vector, const at::Tensor& whole) const;
  void rotate(const double* rotation, std::int64_t count, std::int64_t kept) const;
  void truncate(std::int64_t count) const;

 private:
  void ask(KeptRequest request, std::int64_t a = 0, std::int64_t b = 0, std::int64_t c = 0) const;

  const BasisKeepers& keepers_;
  std::int64_t number_;  // of the basis, among those of this process
  Shares shares_;
};

// Of every other rank: keeps its shares.
class BasisService : public RankService {
 public:
  BasisService();
  ~BasisService() override;
  void serve(const Ranks& ranks) override;

 private:
  struct Kept;
  std::map<std::int64_t, std::unique_ptr<Kept>> kept_;
};

}  // namespace blockwise
