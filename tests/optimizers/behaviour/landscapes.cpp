#include "tests/optimizers/behaviour/landscapes.hpp"

#include <cmath>

#include "tests/support/formula_values.hpp"

namespace blockwise::testing {
namespace {

using Point = Landscape::Point;
constexpr int kRows = Landscape::kRows, kColumns = Landscape::kColumns, kSize = Landscape::kSize;

template <typename Function>
Point each(Function function) {
  Point values(kSize);
  for (int i = 0; i < kSize; ++i) values[std::size_t(i)] = function(std::size_t(i));
  return values;
}

// In -1 .. 1, but not within 0.5 of 0.
double away_from_zero(std::uint32_t stream, std::size_t i) {
  const double value = formula_value(stream, std::uint32_t(i));
  return std::copysign(0.5 + 0.5 * std::abs(value), value);
}

Point minimum() {
  return each([](std::size_t i) { return 0.5 * formula_value(3, std::uint32_t(i)); });
}

class Quadratic : public Landscape {
 public:
  explicit Quadratic(std::vector<double> c) : c_(std::move(c)) {}
  Point start() const override {
    return each([&](std::size_t i) { return minimum_[i] + away_from_zero(4, i); });
  }
  double loss(const Point& w) const override {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += 0.5 * c_[i] * std::pow(w[i] - minimum_[i], 2);
    return sum;
  }
  Point gradient(const Point& w) const override {
    return each([&](std::size_t i) { return c_[i] * (w[i] - minimum_[i]); });
  }
  Point curvature(const Point&) const override { return c_; }
  Point solution(const Point&) const override { return minimum_; }

 private:
  std::vector<double> c_;
  Point minimum_ = minimum();
};

class TurnedQuadratic : public Landscape {
 public:
  explicit TurnedQuadratic(const std::vector<double>& eigenvalues) {
    // A reflection of the axes, I - 2 u u^T.
    std::vector<double> u(kColumns);
    double square = 0.0;
    for (int j = 0; j < kColumns; ++j) {
      u[std::size_t(j)] = away_from_zero(5, std::size_t(j));
      square += u[std::size_t(j)] * u[std::size_t(j)];
    }
    const auto q = [&](std::size_t i, std::size_t k) {
      return (i == k ? 1.0 : 0.0) - 2.0 * u[i] * u[k] / square;
    };
    for (std::size_t i = 0; i < kColumns; ++i) {
      for (std::size_t j = 0; j < kColumns; ++j) {
        for (std::size_t k = 0; k < kColumns; ++k) h_[i][j] += q(i, k) * eigenvalues[k] * q(j, k);
      }
    }
  }
  Point start() const override { return plain_.start(); }
  double loss(const Point& w) const override {
    const auto g = gradient(w);
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += 0.5 * g[i] * (w[i] - solution(w)[i]);
    return sum;
  }
  Point gradient(const Point& w) const override {
    const auto from = plain_.gradient(w);
    return each([&](std::size_t i) {
      double sum = 0.0;
      const auto row = i / kColumns * kColumns;
      for (std::size_t k = 0; k < kColumns; ++k) sum += from[row + k] * h_[k][i % kColumns];
      return sum;
    });
  }
  Point curvature(const Point&) const override {
    return each([&](std::size_t i) { return h_[i % kColumns][i % kColumns]; });
  }
  Point solution(const Point& w) const override { return plain_.solution(w); }

 private:
  Quadratic plain_{std::vector<double>(kSize, 1.0)};
  double h_[kColumns][kColumns] = {};
};

class Saddle : public Landscape {
 public:
  Point start() const override {
    return each([](std::size_t i) { return 1e-5 * away_from_zero(6, i); });
  }
  double loss(const Point& w) const override {
    double sum = 0.0;
    for (const double x : w) sum += 0.25 * std::pow(x * x - 1.0, 2);
    return sum;
  }
  Point gradient(const Point& w) const override {
    return each([&](std::size_t i) { return w[i] * (w[i] * w[i] - 1.0); });
  }
  Point curvature(const Point& w) const override {
    return each([&](std::size_t i) { return std::abs(3.0 * w[i] * w[i] - 1.0); });
  }
  Point solution(const Point& w) const override {
    return each([&](std::size_t i) { return std::copysign(1.0, w[i]); });
  }
};

class Plateau : public Landscape {
 public:
  Point start() const override {
    return each([&](std::size_t i) { return minimum_[i] + 4.0 * away_from_zero(4, i); });
  }
  double loss(const Point& w) const override {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += 1.0 - bell(w, i);
    return sum;
  }
  Point gradient(const Point& w) const override {
    return each([&](std::size_t i) { return (w[i] - minimum_[i]) * bell(w, i); });
  }
  Point curvature(const Point& w) const override {
    return each([&](std::size_t i) {
      return std::abs(1.0 - std::pow(w[i] - minimum_[i], 2)) * bell(w, i);
    });
  }
  Point solution(const Point&) const override { return minimum_; }

 private:
  double bell(const Point& w, std::size_t i) const {
    return std::exp(-0.5 * std::pow(w[i] - minimum_[i], 2));
  }
  Point minimum_ = minimum();
};

class Valley : public Landscape {
 public:
  Point start() const override {
    return each([](std::size_t i) {
      const double x = -0.75 - 0.25 * formula_value(7, std::uint32_t(i / 2));
      return i % 2 == 0 ? x : x * x;
    });
  }
  double loss(const Point& w) const override {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); i += 2) {
      sum += 0.05 * std::pow(1.0 - w[i], 2) + 0.5 * std::pow(w[i + 1] - w[i] * w[i], 2);
    }
    return sum;
  }
  Point gradient(const Point& w) const override {
    return each([&](std::size_t i) {
      const double x = w[i / 2 * 2], off = w[i / 2 * 2 + 1] - x * x;
      return i % 2 == 0 ? -0.1 * (1.0 - x) - 2.0 * x * off : off;
    });
  }
  Point curvature(const Point& w) const override {
    return each([&](std::size_t i) {
      const double x = w[i / 2 * 2], y = w[i / 2 * 2 + 1];
      return i % 2 == 0 ? std::abs(0.1 - 2.0 * y + 6.0 * x * x) : 1.0;
    });
  }
  Point solution(const Point&) const override { return Point(kSize, 1.0); }
};

}  // namespace

std::shared_ptr<const Landscape> quadratic(std::vector<double> c) {
  return std::make_shared<Quadratic>(std::move(c));
}

std::shared_ptr<const Landscape> turned_quadratic(std::vector<double> eigenvalues) {
  return std::make_shared<TurnedQuadratic>(eigenvalues);
}

std::shared_ptr<const Landscape> saddle() { return std::make_shared<Saddle>(); }

std::shared_ptr<const Landscape> plateau() { return std::make_shared<Plateau>(); }

std::shared_ptr<const Landscape> valley() { return std::make_shared<Valley>(); }

}  // namespace blockwise::testing
