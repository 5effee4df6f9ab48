#include "tests/optimizers/behaviour/trial.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include "tests/support/optimizer_setup.hpp"

namespace blockwise::testing {
namespace {

constexpr double kNear = 1.25;
constexpr std::size_t kHeldSteps = 5;

using Point = Landscape::Point;

Point values_of(const at::Tensor& tensor) {
  const auto* data = tensor.data_ptr<float>();
  return {data, data + tensor.numel()};
}

void set(const at::Tensor& tensor, const Point& values) {
  std::ranges::copy(values, tensor.data_ptr<float>());
}

// A hidden matrix, which every rule takes itself.
ParameterLayout layout() {
  Parameter parameter;
  parameter.name = "w";
  parameter.role = ParameterRole::mlp_in;
  parameter.shape = {Landscape::kRows, Landscape::kColumns};
  return ParameterLayout({parameter});
}

// Of the last steps.
class Held {
 public:
  void add(double distance) {
    last_.push_back(std::isfinite(distance) ? distance : HUGE_VAL);
    if (last_.size() > kHeldSteps) last_.pop_front();
    if (last_.size() == kHeldSteps)
      smallest_ = std::min(smallest_, *std::ranges::max_element(last_));
  }
  double smallest() const { return smallest_; }

 private:
  std::deque<double> last_;
  double smallest_ = HUGE_VAL;
};

}  // namespace

double held_distance(const Problem& problem, const nlohmann::json& rule, double peak_rate) {
  const auto& landscape = *problem.landscape;
  auto fields = rule;
  fields["gradient_clip"] = 0.0;
  ParameterStore store(layout(), at::kCPU);
  Optimizer optimizer(optimizer_config(fields), store);
  set(store.master(0), landscape.start());
  std::deque<Point> past;
  Held held;
  for (int step = 1; step <= problem.steps; ++step) {
    past.push_back(values_of(store.master(0)));
    if (int(past.size()) > problem.delay + 1) past.pop_front();
    if (optimizer.wants_curvature()) {
      set(store.gradient(0), landscape.curvature(past.front()));
      optimizer.learn_curvature();
    }
    auto gradient = landscape.gradient(past.front());
    problem.observe(gradient, step);
    set(store.gradient(0), gradient);
    optimizer.step(peak_rate * (1.0 - double(step - 1) / double(problem.steps)));
    const auto distance = landscape.distance(values_of(store.master(0)));
    held.add(distance);
    // It is decided.
    if (!(distance < 1e3) || held.smallest() < problem.target / kNear) break;
  }
  return held.smallest() / problem.target;
}

Outcome outcome_of(double held) {
  if (held < 1.0 / kNear) return Outcome::solved;
  return held > kNear ? Outcome::failed : Outcome::near;
}

}  // namespace blockwise::testing
