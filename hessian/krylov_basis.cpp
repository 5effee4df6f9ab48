#include "hessian/krylov_basis.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kFold = 1024;        // elements summed in the vectors' own dtype
constexpr std::int64_t kColumns = 1 << 14;  // of w that stay in the cache while all rows pass

template <typename T>
double dot_run(const T* a, const T* b, std::int64_t n) {
  double total = 0.0;
  for (std::int64_t begin = 0; begin < n; begin += kFold) {
    const std::int64_t end = std::min(n, begin + kFold);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < end; ++i) sum += a[i] * b[i];
    total += static_cast<double>(sum);
  }
  return total;
}

// One row of partial sums per chunk of columns, added in the order of the chunks.
template <typename T>
std::vector<double> coefficients_of(const T* q, std::int64_t rows, std::int64_t stride, const T* w,
                                    std::int64_t n) {
  const std::int64_t chunks = (n + kColumns - 1) / kColumns;
  std::vector<double> partial(static_cast<std::size_t>(chunks * rows));
#pragma omp parallel for schedule(static)
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int64_t begin = c * kColumns, count = std::min(kColumns, n - begin);
    for (std::int64_t i = 0; i < rows; ++i) {
      partial[static_cast<std::size_t>(c * rows + i)] =
          dot_run(q + i * stride + begin, w + begin, count);
    }
  }
  std::vector<double> sums(static_cast<std::size_t>(rows), 0.0);
  for (std::int64_t c = 0; c < chunks; ++c) {
    for (std::int64_t i = 0; i < rows; ++i) {
      sums[static_cast<std::size_t>(i)] += partial[static_cast<std::size_t>(c * rows + i)];
    }
  }
  return sums;
}

template <typename T>
void subtract_from(const T* q, std::int64_t rows, std::int64_t stride, const double* c, T* w,
                   std::int64_t n) {
  const std::int64_t chunks = (n + kFold - 1) / kFold;
#pragma omp parallel for schedule(static)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t begin = chunk * kFold, count = std::min(kFold, n - begin);
    for (std::int64_t i = 0; i < rows; ++i) {
      const T factor = static_cast<T>(c[i]);
      const T* row = q + i * stride + begin;
      T* out = w + begin;
#pragma omp simd
      for (std::int64_t j = 0; j < count; ++j) out[j] -= factor * row[j];
    }
  }
}

bool has_kernel(const at::Tensor& w) {
  const auto type = w.scalar_type();
  return w.is_cpu() && w.is_contiguous() && (type == at::kFloat || type == at::kDouble);
}

}  // namespace

KrylovBasis::KrylovBasis(std::int64_t size, std::int64_t capacity, const at::TensorOptions& options)
    : vectors_(at::empty({capacity, size}, options)) {}

void KrylovBasis::append(const at::Tensor& v, double scale) {
  if (count_ == capacity()) {
    throw InvariantError(fmt::format("a basis for {} vectors got one more", capacity()));
  }
  auto place = vectors_.select(0, count_++);
  at::mul_out(place, v, at::scalar_tensor(scale, v.options()));
}

std::vector<double> KrylovBasis::coefficients(const at::Tensor& w) const {
  const auto n = vectors_.size(1);
  if (!has_kernel(w)) {
    const auto c = vectors().mv(w).to(at::kCPU, at::kDouble).contiguous();
    return {c.data_ptr<double>(), c.data_ptr<double>() + count_};
  }
  if (w.scalar_type() == at::kFloat) {
    return coefficients_of(vectors_.data_ptr<float>(), count_, n, w.data_ptr<float>(), n);
  }
  return coefficients_of(vectors_.data_ptr<double>(), count_, n, w.data_ptr<double>(), n);
}

void KrylovBasis::subtract(const std::vector<double>& c, const at::Tensor& w) const {
  check_equal(static_cast<std::int64_t>(c.size()), count_, "coefficients of a basis");
  const auto n = vectors_.size(1);
  if (!has_kernel(w)) {
    w.sub_(vectors().t().mv(at::tensor(c, at::kDouble).to(w.options())));
  } else if (w.scalar_type() == at::kFloat) {
    subtract_from(vectors_.data_ptr<float>(), count_, n, c.data(), w.data_ptr<float>(), n);
  } else {
    subtract_from(vectors_.data_ptr<double>(), count_, n, c.data(), w.data_ptr<double>(), n);
  }
}

at::Tensor KrylovBasis::combine(const std::vector<double>& c) const {
  auto sum = at::zeros({vectors_.size(1)}, vectors_.options());
  std::vector<double> negative(c.size());
  std::transform(c.begin(), c.end(), negative.begin(), std::negate<>());
  subtract(negative, sum);
  return sum;
}

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  if (!has_kernel(a) || !has_kernel(b)) {
    return a.to(at::kDouble).dot(b.to(at::kDouble)).item<double>();
  }
  const auto n = a.numel();
  if (a.scalar_type() == at::kFloat) {
    return coefficients_of(a.data_ptr<float>(), 1, n, b.data_ptr<float>(), n)[0];
  }
  return coefficients_of(a.data_ptr<double>(), 1, n, b.data_ptr<double>(), n)[0];
}

double euclidean_norm(const at::Tensor& w) { return std::sqrt(inner_product(w, w)); }

}  // namespace blockwise
