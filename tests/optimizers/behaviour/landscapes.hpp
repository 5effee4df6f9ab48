// The functions of the problems; see problem.hpp.
#pragma once

#include <memory>

#include "tests/optimizers/behaviour/problem.hpp"

namespace blockwise::testing {

// sum of c (w - w*)^2 / 2; c of every element.
std::shared_ptr<const Landscape> quadratic(std::vector<double> c);
// tr((W - W*) H (W - W*)^T) / 2 where H [columns, columns] has the eigenvalues in a turned basis.
std::shared_ptr<const Landscape> turned_quadratic(std::vector<double> eigenvalues);
// sum of (w^2 - 1)^2 / 4, from close to 0, where the gradient vanishes; minima at -1 and 1.
std::shared_ptr<const Landscape> saddle();
// sum of 1 - exp(-(w - w*)^2 / 2), from where the gradient has nearly vanished.
std::shared_ptr<const Landscape> plateau();
// sum over pairs of columns of ((1 - x)^2 + 10 (y - x^2)^2) / 20 (Rosenbrock's), from the other end
// of the valley.
std::shared_ptr<const Landscape> valley();

}  // namespace blockwise::testing
