// The flat buffers: views share storage, autograd accumulates in place, and initial values depend
// on the seed and the tensor alone.
#include "core/parameters/parameter_store.hpp"

#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("Tensors are leaves that share the flat buffer") {
  ParameterStore store(small_models()[0].spec()->layout(), at::kCPU);
  store.initialize(3);
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& tensor = store.tensors()[i];
    CHECK(tensor.is_leaf());
    CHECK(tensor.requires_grad());
    CHECK(tensor.data_ptr<float>() ==
          store.parameters().data_ptr<float>() + store.layout().parameters()[i].offset);
  }
  at::NoGradGuard no_grad;
  store.parameters().fill_(0.5);
  CHECK(store.tensor("lm_head.weight").eq(0.5).all().item<bool>());
}

TEST_CASE("Autograd adds into the flat gradient buffer") {
  const auto model = small_models()[4];
  ParameterStore store(model.spec()->layout(), at::kCPU);
  store.initialize(3);
  const auto net = model.spec()->build(store);
  ForwardContext context;
  backward(net->loss(small_batch(model), context));
  CHECK_NOTHROW(store.check_gradient_views());
  const auto once = store.gradients().clone();
  CHECK(once.abs().sum().item<double>() > 0.0);
  backward(net->loss(small_batch(model), context));
  CHECK_NOTHROW(store.check_gradient_views());
  CHECK(at::equal(store.gradients(), 2 * once));  // doubling is exact
  store.zero_gradients();
  CHECK(store.gradients().abs().sum().item<double>() == 0.0);
  CHECK_NOTHROW(store.check_gradient_views());
}

TEST_CASE("A gradient that was replaced is found") {
  ParameterStore store(small_models()[0].spec()->layout(), at::kCPU);
  auto tensor = store.tensors()[1];
  tensor.mutable_grad() = at::zeros_like(tensor);
  CHECK_THROWS_AS(store.check_gradient_views(), InvariantError);
}

TEST_CASE("Initial values follow the block's description") {
  ParameterStore store(
      model_spec("gpt2", {{"vocab_size", 300}, {"block_size", 64}, {"n_layer", 2}, {"n_embd", 96}})
          ->layout(),
      at::kCPU);
  store.initialize(1);
  const auto deviation = [&](const std::string& name) {
    return store.tensor(name).detach().to(at::kDouble).std().item<double>();
  };
  // 28800 and 36864 values: the estimate's own relative error is 1 / sqrt(2 n), 0.5 %; 4 of it.
  CHECK(deviation("transformer.wte.weight") == Approx(0.02).epsilon(0.02));
  CHECK(deviation("transformer.h.1.mlp.c_proj.weight") == Approx(0.02 / 2.0).epsilon(0.02));
  CHECK(store.tensor("transformer.ln_f.weight").eq(1.0).all().item<bool>());
  CHECK(store.tensor("transformer.ln_f.bias").eq(0.0).all().item<bool>());
}

TEST_CASE("Initial values are a function of the seed, tensor by tensor") {
  const auto layout = small_models()[3].spec()->layout();
  ParameterStore a(layout, at::kCPU), b(layout, at::kCPU), other(layout, at::kCPU);
  a.initialize(5);
  b.initialize(5);
  other.initialize(6);
  CHECK(at::equal(a.parameters(), b.parameters()));
  CHECK_FALSE(at::equal(a.parameters(), other.parameters()));

  // A longer last tensor changes none before it.
  auto parameters = layout.parameters();
  parameters.back().shape[0] += 3;
  ParameterStore longer(ParameterLayout(parameters), at::kCPU);
  longer.initialize(5);
  for (std::size_t i = 0; i + 1 < parameters.size(); ++i) {
    CHECK(at::equal(a.tensors()[i], longer.tensors()[i]));
  }
  ParameterStore wide(layout, at::kCPU, at::kDouble);
  wide.initialize(5);
  CHECK(at::equal(wide.parameters().to(at::kFloat), a.parameters()));
}
