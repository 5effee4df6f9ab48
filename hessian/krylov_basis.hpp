// KrylovBasis: the vectors of a Lanczos process, kept where the model is, and the two operations
// that cost: coefficients along all of them, and taking those parts away. Several processes may
// keep them, each some of their elements (basis_keepers.hpp).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/saved_state.hpp"
#include "hessian/basis_keepers.hpp"

namespace blockwise {

class KrylovBasis {
 public:
  // Room for `capacity` vectors of `size` elements: capacity * size elements of options' dtype.
  // With keepers each rank has its share of that.
  KrylovBasis(std::int64_t size, std::int64_t capacity, const at::TensorOptions& options,
              const BasisKeepers* keepers = nullptr);

  std::int64_t count() const { return count_; }
  std::int64_t capacity() const { return vectors_.size(0); }
  // [size]; a view that writes the basis where this process keeps all of it, otherwise a copy.
  at::Tensor vector(std::int64_t i) const;
  // Appends v * scale. Throws InvariantError when full.
  void append(const at::Tensor& v, double scale);
  void truncate(std::int64_t count);

  // c_i = q_i . w, in double: float32 sums over at most 1024 products, double above, in an order
  // that depends on the sizes alone. One read of the basis.
  std::vector<double> coefficients(const at::Tensor& w) const;
  // w <- w - sum_i c_i q_i. One read of the vectors whose c_i is not 0.
  void subtract(const std::vector<double>& c, const at::Tensor& w) const;
  // Replaces the vectors by `kept` combinations of them, in place: q_k <- sum_i rotation[i, k] q_i
  // for rotation [count, kept], column by column. One read and write of the basis.
  void rotate(const double* rotation, std::int64_t kept);
  // sum_i c_i q_i.
  at::Tensor combine(const std::vector<double>& c) const;

  // The vectors one by one: never twice in memory. load() throws InputError for another size, or
  // more than there is room for.
  void save(const StateWriter& state) const;
  void load(const StateReader& state);

 private:
  at::Tensor own_part(const at::Tensor& whole) const;
  at::Tensor kept() const { return vectors_.narrow(0, 0, count_); }  // [count, own elements]

  std::int64_t size_;
  std::shared_ptr<const SpreadVectors> others_;  // null: all elements are here
  at::Tensor vectors_;                           // [capacity, own elements]
  std::int64_t count_ = 0;
};

// ||w|| and a . b as above.
double euclidean_norm(const at::Tensor& w);
double inner_product(const at::Tensor& a, const at::Tensor& b);

}  // namespace blockwise
