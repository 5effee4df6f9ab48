// Gradients of every model against central finite differences in double precision.
#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "core/base/random_stream.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::uint64_t kSeed = 20250601;
// With weights of size 0.4 third derivatives are below 1e2: truncation h^2 / 6 * 1e2 = 2e-9;
// rounding of two losses of size 3: 4e-16 * 3 / h = 1e-10. The rest is room.
constexpr double kStep = 1e-5;
constexpr double kTolerance = 1e-8;

class Problem {
 public:
  explicit Problem(const SmallModel& model)
      : store_(model.spec()->layout(), at::kCPU, at::kDouble),
        model_(model.spec()->build(store_)),
        batch_(small_batch(model)) {
    at::NoGradGuard no_grad;
    auto generator = make_generator(kSeed, RandomStream::init);
    store_.parameters().normal_(0.0, 0.4, generator);
  }

  const ParameterLayout& layout() const { return store_.layout(); }

  // The same dropout masks at every call.
  at::Tensor loss() const {
    ForwardContext context{make_generator(kSeed, RandomStream::dropout)};
    return model_->loss(batch_, context);
  }

  at::Tensor gradient() {
    store_.zero_gradients();
    backward(loss());
    return store_.gradients().clone();
  }

  double slope(const at::Tensor& direction) const {
    const auto at_offset = [&](double h) {
      at::NoGradGuard no_grad;
      store_.parameters().add_(direction, h);
      const double value = loss().item<double>();
      store_.parameters().sub_(direction, h);
      return value;
    };
    return (at_offset(kStep) - at_offset(-kStep)) / (2.0 * kStep);
  }

 private:
  ParameterStore store_;
  std::unique_ptr<Model> model_;
  Batch batch_;
};

std::vector<SmallModel> models_and_dropout() {
  auto models = small_models();
  for (const std::size_t i : {0, 4}) {
    auto dropped = models[i];
    dropped.name += ", dropout";
    dropped.fields["dropout"] = 0.3;
    models.push_back(dropped);
  }
  auto relu = models[7];
  relu.name += ", relu";
  relu.fields["activation"] = "relu";
  models.push_back(relu);
  return models;
}

}  // namespace

TEST_CASE("Gradients agree with finite differences along random directions") {
  for (const auto& model : models_and_dropout()) {
    INFO(model.name << ", seed " << kSeed);
    Problem problem(model);
    const auto gradient = problem.gradient();
    auto generator = make_generator(kSeed, RandomStream::probe);
    for (int i = 0; i < 4; ++i) {
      auto direction = at::randn({problem.layout().size()}, generator, at::kDouble);
      direction /= direction.norm();
      const double expected = problem.slope(direction);
      CHECK(std::abs(at::dot(gradient, direction).item<double>() - expected) < kTolerance);
    }
  }
}

TEST_CASE("Gradients agree with finite differences in single coordinates of every tensor") {
  for (const auto& model : models_and_dropout()) {
    INFO(model.name << ", seed " << kSeed);
    Problem problem(model);
    const auto gradient = problem.gradient();
    for (const auto& parameter : problem.layout().parameters()) {
      INFO(parameter.name);
      for (const auto element : {parameter.offset, parameter.offset + parameter.size() / 2}) {
        auto direction = at::zeros_like(gradient);
        direction[element] = 1.0;
        const double slope = problem.slope(direction);
        CHECK(std::abs(gradient[element].item<double>() - slope) < kTolerance);
      }
    }
  }
}

TEST_CASE("A tied tensor's gradient is the sum of the two untied ones") {
  for (const std::string family : {"gpt2", "llama"}) {
    const nlohmann::json sizes = {
        {"vocab_size", 11}, {"block_size", 6}, {"n_layer", 1}, {"n_head", 2}, {"n_embd", 8}};
    const auto with = [&](bool tied) {
      auto fields = sizes;
      fields["tie_word_embeddings"] = tied;
      return SmallModel{family, family, fields};
    };
    ParameterStore tied(with(true).spec()->layout(), at::kCPU, at::kDouble);
    ParameterStore untied(with(false).spec()->layout(), at::kCPU, at::kDouble);
    tied.initialize(kSeed);
    {
      at::NoGradGuard no_grad;
      for (const auto& parameter : untied.layout().parameters()) {
        untied.tensor(parameter.name).copy_(tied.tensor(parameter.name));
      }
    }
    ForwardContext context;
    const auto batch = small_batch(with(true));
    backward(with(true).spec()->build(tied)->loss(batch, context));
    backward(with(false).spec()->build(untied)->loss(batch, context));
    const auto& name = tied.layout().parameters().front().name;
    const auto sum = untied.tensor(name).grad() + untied.tensor("lm_head.weight").grad();
    // The same sums in another order, gradients of size 1.
    CHECK(at::allclose(tied.tensor(name).grad(), sum, 0.0, 1e-14));
    CHECK(untied.tensor("lm_head.weight").grad().abs().max().item<double>() > 1e-3);
  }
}
