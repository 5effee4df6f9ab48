#include "hessian/krylov_basis.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kFold = 1024;        // elements summed in the vectors' own dtype
constexpr std::int64_t kColumns = 1 << 12;  // of w that stay in the cache while all rows pass
constexpr std::int64_t kRows = 4;           // rows at once: independent sums, one read of w for all

// Compiled for several instruction sets; the loader picks.
#define BLOCKWISE_SIMD __attribute__((target_clones("avx512f", "avx2", "default")))

// sums[r] += q[r] . w for kRows rows of n elements. (A macro, because target_clones and templates
// exclude each other.)
#define BLOCKWISE_DOT_ROWS(T)                                                                    \
  BLOCKWISE_SIMD void dot_rows(const T* q, std::int64_t stride, const T* w, std::int64_t n,      \
                               double* sums) {                                                   \
    for (std::int64_t begin = 0; begin < n; begin += kFold) {                                    \
      const std::int64_t end = std::min(n, begin + kFold);                                       \
      T a = 0, b = 0, c = 0, d = 0;                                                              \
      _Pragma("omp simd reduction(+ : a, b, c, d)") for (std::int64_t i = begin; i < end; ++i) { \
        a += q[i] * w[i];                                                                        \
        b += q[stride + i] * w[i];                                                               \
        c += q[2 * stride + i] * w[i];                                                           \
        d += q[3 * stride + i] * w[i];                                                           \
      }                                                                                          \
      sums[0] += static_cast<double>(a);                                                         \
      sums[1] += static_cast<double>(b);                                                         \
      sums[2] += static_cast<double>(c);                                                         \
      sums[3] += static_cast<double>(d);                                                         \
    }                                                                                            \
  }
BLOCKWISE_DOT_ROWS(float)
BLOCKWISE_DOT_ROWS(double)

#define BLOCKWISE_DOT_ROW(T)                                                                   \
  BLOCKWISE_SIMD double dot_row(const T* a, const T* b, std::int64_t n) {                      \
    double total = 0.0;                                                                        \
    for (std::int64_t begin = 0; begin < n; begin += kFold) {                                  \
      const std::int64_t end = std::min(n, begin + kFold);                                     \
      T sum = 0;                                                                               \
      _Pragma("omp simd reduction(+ : sum)") for (std::int64_t i = begin; i < end; ++i) sum += \
          a[i] * b[i];                                                                         \
      total += static_cast<double>(sum);                                                       \
    }                                                                                          \
    return total;                                                                              \
  }
BLOCKWISE_DOT_ROW(float)
BLOCKWISE_DOT_ROW(double)

// w -= sum of c[r] q[r] over kRows rows.
#define BLOCKWISE_SUBTRACT_ROWS(T)                                                           \
  BLOCKWISE_SIMD void subtract_rows(const T* const* q, const T* c, std::int64_t begin, T* w, \
                                    std::int64_t n) {                                        \
    const T *q0 = q[0] + begin, *q1 = q[1] + begin, *q2 = q[2] + begin, *q3 = q[3] + begin;  \
    _Pragma("omp simd") for (std::int64_t i = 0; i < n; ++i) {                               \
      w[i] -= (c[0] * q0[i] + c[1] * q1[i]) + (c[2] * q2[i] + c[3] * q3[i]);                 \
    }                                                                                        \
  }
BLOCKWISE_SUBTRACT_ROWS(float)
BLOCKWISE_SUBTRACT_ROWS(double)

#define BLOCKWISE_SUBTRACT_ROW(T)                                              \
  BLOCKWISE_SIMD void subtract_row(const T* q, T c, T* w, std::int64_t n) {    \
    _Pragma("omp simd") for (std::int64_t i = 0; i < n; ++i) w[i] -= c * q[i]; \
  }
BLOCKWISE_SUBTRACT_ROW(float)
BLOCKWISE_SUBTRACT_ROW(double)

// One row of partial sums per chunk of columns, added in the order of the chunks.
template <typename T>
std::vector<double> coefficients_of(const T* q, std::int64_t rows, std::int64_t stride, const T* w,
                                    std::int64_t n) {
  const std::int64_t chunks = (n + kColumns - 1) / kColumns;
  // partial[c, i] = q_i . w over the columns of chunk c.
  std::vector<double> partial(static_cast<std::size_t>(chunks * rows));
#pragma omp parallel for schedule(static)
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int64_t begin = c * kColumns, count = std::min(kColumns, n - begin);
    double* sums = partial.data() + c * rows;
    // Four rows share one read of w; the rest go one by one.
    std::int64_t i = 0;
    for (; i + kRows <= rows; i += kRows) {
      dot_rows(q + i * stride + begin, stride, w + begin, count, sums + i);
    }
    for (; i < rows; ++i) sums[i] = dot_row(q + i * stride + begin, w + begin, count);
  }
  // q_i . w = sum over c of partial[c, i]
  std::vector<double> sums(static_cast<std::size_t>(rows), 0.0);
  for (std::int64_t c = 0; c < chunks; ++c) {
    for (std::int64_t i = 0; i < rows; ++i) {
      sums[static_cast<std::size_t>(i)] += partial[static_cast<std::size_t>(c * rows + i)];
    }
  }
  return sums;
}

// w <- w - sum of c_i q_i, chunk by chunk of w. Rows with a factor of 0 are not read.
template <typename T>
void subtract_from(const T* q, std::int64_t stride, const std::vector<double>& c, T* w,
                   std::int64_t n) {
  std::vector<const T*> rows;
  std::vector<T> factors;
  for (std::size_t i = 0; i < c.size(); ++i) {
    if (c[i] == 0.0) continue;
    rows.push_back(q + static_cast<std::int64_t>(i) * stride);
    factors.push_back(static_cast<T>(c[i]));
  }
  const std::int64_t chunks = (n + kColumns - 1) / kColumns;
#pragma omp parallel for schedule(static)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t begin = chunk * kColumns, count = std::min(kColumns, n - begin);
    std::size_t i = 0;
    for (; i + kRows <= rows.size(); i += kRows) {
      subtract_rows(rows.data() + i, factors.data() + i, begin, w + begin, count);
    }
    for (; i < rows.size(); ++i) subtract_row(rows[i] + begin, factors[i], w + begin, count);
  }
}

bool has_kernel(const at::Tensor& w) {
  const auto type = w.scalar_type();
  return w.is_cpu() && w.is_contiguous() && (type == at::kFloat || type == at::kDouble);
}

}  // namespace

KrylovBasis::KrylovBasis(std::int64_t size, std::int64_t capacity, const at::TensorOptions& options,
                         const BasisKeepers* keepers)
    : size_(size) {
  auto own = size;
  if (keepers != nullptr) {
    const auto dtype = c10::typeMetaToScalarType(options.dtype());
    others_ = std::make_shared<const SpreadVectors>(*keepers, size, capacity, dtype);
    own = others_->own_elements();
  }
  vectors_ = at::empty({capacity, own}, options);
}

at::Tensor KrylovBasis::own_part(const at::Tensor& whole) const {
  return others_ ? whole.narrow(0, 0, vectors_.size(1)) : whole;
}

at::Tensor KrylovBasis::vector(std::int64_t i) const {
  if (!others_) return vectors_.select(0, i);
  auto whole = at::empty({size_}, vectors_.options());
  own_part(whole).copy_(vectors_.select(0, i));
  others_->read(i, whole);
  return whole;
}

void KrylovBasis::append(const at::Tensor& v, double scale) {
  if (count_ == capacity()) {
    throw InvariantError(fmt::format("a basis for {} vectors got one more", capacity()));
  }
  auto place = vectors_.select(0, count_++);
  at::mul_out(place, own_part(v), at::scalar_tensor(scale, v.options()));
  if (others_) others_->append(v, scale);
}

void KrylovBasis::truncate(std::int64_t count) {
  count_ = count;
  if (others_) others_->truncate(count);
}

namespace {

// Of rows [count, n]: c_i = q_i . w.
std::vector<double> row_coefficients(const at::Tensor& rows, const at::Tensor& w) {
  const auto count = rows.size(0), n = rows.size(1);
  if (!has_kernel(w)) {
    // c = Q w for vectors as rows of Q
    const auto c = rows.mv(w).to(at::kCPU, at::kDouble).contiguous();
    return {c.data_ptr<double>(), c.data_ptr<double>() + count};
  }
  if (w.scalar_type() == at::kFloat) {
    return coefficients_of(rows.data_ptr<float>(), count, n, w.data_ptr<float>(), n);
  }
  return coefficients_of(rows.data_ptr<double>(), count, n, w.data_ptr<double>(), n);
}

void subtract_rows_from(const at::Tensor& rows, const std::vector<double>& c, const at::Tensor& w) {
  const auto n = rows.size(1);
  if (!has_kernel(w)) {
    // w <- w - Q^T c
    w.sub_(rows.t().mv(at::tensor(c, at::kDouble).to(w.options())));
  } else if (w.scalar_type() == at::kFloat) {
    subtract_from(rows.data_ptr<float>(), n, c, w.data_ptr<float>(), n);
  } else {
    subtract_from(rows.data_ptr<double>(), n, c, w.data_ptr<double>(), n);
  }
}

}  // namespace

std::vector<double> KrylovBasis::coefficients(const at::Tensor& w) const {
  auto c = row_coefficients(kept(), own_part(w));
  if (others_) others_->add_coefficients(w, c);
  return c;
}

void KrylovBasis::subtract(const std::vector<double>& c, const at::Tensor& w) const {
  check_equal(static_cast<std::int64_t>(c.size()), count_, "coefficients of a basis");
  if (others_) others_->hand_out(c, w);
  subtract_rows_from(kept(), c, own_part(w));
  if (others_) others_->collect(w);
}

void KrylovBasis::rotate(const double* rotation, std::int64_t kept_count) {
  const auto turn = at::from_blob(const_cast<double*>(rotation), {kept_count, count_}, at::kDouble)
                        .to(vectors_.options());
  const auto n = vectors_.size(1);
  for (std::int64_t begin = 0; begin < n; begin += kColumns) {
    const auto width = std::min(kColumns, n - begin);
    // Columns of Q <- R^T Q, some at a time: they are read before they are written.
    const auto turned = turn.mm(kept().narrow(1, begin, width));
    vectors_.narrow(0, 0, kept_count).narrow(1, begin, width).copy_(turned);
  }
  if (others_) others_->rotate(rotation, count_, kept_count);
  count_ = kept_count;
}

at::Tensor KrylovBasis::combine(const std::vector<double>& c) const {
  auto sum = at::zeros({size_}, vectors_.options());
  // 0 - sum of (-c_i) q_i
  std::vector<double> negative(c.size());
  std::transform(c.begin(), c.end(), negative.begin(), std::negate<>());
  subtract(negative, sum);
  return sum;
}

void KrylovBasis::save(const StateWriter& state) const {
  state.number("vectors", count_);
  for (std::int64_t i = 0; i < count_; ++i) {
    state.array(fmt::format("vector-{}", i), vector(i), "of the basis");
  }
}

void KrylovBasis::load(const StateReader& state) {
  const auto count = read_count(state, "vectors", capacity());
  truncate(0);
  auto whole = at::empty({size_}, vectors_.options());
  for (std::int64_t i = 0; i < count; ++i) {
    read_into(state, fmt::format("vector-{}", i), whole);
    append(whole, 1.0);
  }
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
