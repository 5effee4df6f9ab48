// Problems that show what an update rule can do: a function of one small matrix with a known
// solution, and how its gradient is seen. Plain loops in double; nothing is random but by formula.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace blockwise::testing {

// A function of a matrix [kRows, kColumns], by row.
class Landscape {
 public:
  static constexpr int kRows = 6, kColumns = 8, kSize = kRows * kColumns;
  using Point = std::vector<double>;  // kSize values

  virtual ~Landscape() = default;
  virtual Point start() const = 0;
  virtual double loss(const Point& w) const = 0;
  virtual Point gradient(const Point& w) const = 0;
  // Of the Hessian, no value below 0: where the function bends down, its size.
  virtual Point curvature(const Point& w) const = 0;
  // The nearest of its minima.
  virtual Point solution(const Point& w) const = 0;

  // ||w - solution|| over that of the start: 1 where nothing was done, 0 where all is.
  double distance(const Point& w) const;
};

// What a rule is given in the place of the gradient at step 1, 2, ...
using Observation = std::function<void(std::vector<double>& gradient, int step)>;

struct Problem {
  std::string name;
  std::string doc;
  std::shared_ptr<const Landscape> landscape;
  int steps;
  double target;  // distance at which it is solved
  Observation observe = [](std::vector<double>&, int) {};
  int delay = 0;  // the gradient is that of the weights so many steps ago
};

const std::vector<Problem>& problems();

}  // namespace blockwise::testing
