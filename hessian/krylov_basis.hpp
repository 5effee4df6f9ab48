// KrylovBasis: the vectors of a Lanczos process, kept where the model is, and the two operations
// that cost: coefficients along all of them, and taking those parts away.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace blockwise {

class KrylovBasis {
 public:
  // Room for `capacity` vectors of `size` elements: capacity * size elements of options' dtype.
  KrylovBasis(std::int64_t size, std::int64_t capacity, const at::TensorOptions& options);

  std::int64_t count() const { return count_; }
  std::int64_t capacity() const { return vectors_.size(0); }
  at::Tensor vector(std::int64_t i) const { return vectors_.select(0, i); }
  at::Tensor vectors() const { return vectors_.narrow(0, 0, count_); }  // [count, size]
  // Appends v * scale. Throws InvariantError when full.
  void append(const at::Tensor& v, double scale);
  void truncate(std::int64_t count) { count_ = count; }

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

 private:
  at::Tensor vectors_;  // [capacity, size]
  std::int64_t count_ = 0;
};

// ||w|| and a . b as above.
double euclidean_norm(const at::Tensor& w);
double inner_product(const at::Tensor& a, const at::Tensor& b);

}  // namespace blockwise
