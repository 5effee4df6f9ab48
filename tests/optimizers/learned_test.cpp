// adafactor_mlp and mlp_lopt: their weights, built in and from files.
#include <ATen/ATen.h>

#include "core/io/safetensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

const std::vector<std::vector<std::int64_t>> kShapes = {{7}, {1}, {4, 9}, {9, 4}, {5, 5}};

struct Run {
  explicit Run(nlohmann::json fields) : store(layout(), at::kCPU) {
    fields["gradient_clip"] = 0.0;
    fields["weight_decay"] = 0.1;
    fill_parameters(store);
    optimizer.emplace(optimizer_config(std::move(fields)), store);
  }
  static ParameterLayout layout() {
    std::vector<Parameter> parameters;
    for (const auto& shape : kShapes) {
      auto& made = parameters.emplace_back();
      made.name = "w" + std::to_string(parameters.size());
      made.shape = shape;
    }
    return ParameterLayout(std::move(parameters));
  }
  at::Tensor after(int steps) {
    for (int draw = 0; draw < steps; ++draw) {
      fill_gradients(store, draw);
      optimizer->step(1e-3);
    }
    return store.parameters().clone();
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

// A network of the rule's inputs with one hidden layer that has a single unit: the sum of the
// features `units` says, and a direction of it.
NamedTensors small_network(std::int64_t inputs, std::int64_t feature) {
  auto w0 = at::zeros({inputs, 1});
  w0[feature][0] = 1.0;
  return {{"w0", w0},
          {"b0", at::full({1}, 10.0)},  // so that no ReLU cuts
          {"w1", at::tensor({2.0f, 0.0f}).view({1, 2})},
          {"b1", at::tensor({-20.0f, 0.0f})}};
}

std::string written(const TemporaryFolder& folder, const NamedTensors& weights) {
  const auto path = folder.path() / "weights.safetensors";
  write_safetensors(path, weights);
  return path.string();
}

NamedTensors with(NamedTensors weights, const std::string& name, const at::Tensor& tensor) {
  for (auto& [key, value] : weights) {
    if (key == name) value = tensor;
  }
  return weights;
}

}  // namespace

TEST_CASE("learned: a network that passes one feature on makes steps along it") {
  const TemporaryFolder folder;
  // Feature 0 is the gradient over its root mean square.
  for (const auto& [rule, inputs] :
       {std::pair<std::string, int>{"adafactor_mlp", 39}, {"mlp_lopt", 19}}) {
    INFO(rule);
    Run run({{"rule", rule}, {"weights", written(folder, small_network(inputs, 0))}});
    const auto before = run.store.parameters().clone();
    fill_gradients(run.store, 0);
    run.optimizer->step(1e-3);
    for (const auto& parameter : run.store.layout().parameters()) {
      const auto of = [&](const at::Tensor& flat) {
        return flat.narrow(0, parameter.offset, parameter.size()).to(at::kDouble);
      };
      const auto g = of(run.store.gradients());
      const auto expected =
          of(before) * (1.0 - 1e-4) - 1e-3 * 2.0 * g / (g.square().mean() + 1e-5).sqrt();
      const auto error = (of(run.store.parameters()) - expected).abs().max().item<double>();
      CHECK(error < 1e-7);  // roundings of a weight, and of a unit of about 10 times 2e-3
    }
  }
}

TEST_CASE("learned: shifts of the decays count, and are bounded") {
  const TemporaryFolder folder;
  auto weights = small_network(39, 2);  // the average with decay 0.9
  const auto path = [&](double shift) {
    auto all = weights;
    all.emplace_back("momentum_decays", at::full({3}, shift));
    return written(folder, all);
  };
  Run none({{"rule", "adafactor_mlp"}, {"weights", written(folder, weights)}});
  const auto plain = none.after(3);
  Run zero({{"rule", "adafactor_mlp"}, {"weights", path(0.0)}});
  CHECK(at::equal(zero.after(3), plain));
  Run other({{"rule", "adafactor_mlp"}, {"weights", path(0.05)}});
  CHECK_FALSE(at::equal(other.after(3), plain));
  // 1 - 0.1 e^(10 x) is below 0 from x = 0.23 on.
  CHECK_THAT(input_error([&] {
               Run({{"rule", "adafactor_mlp"}, {"weights", path(0.3)}});
             }),
             Contains("'momentum_decays' makes a decay of"));
}

TEST_CASE("learned: weights that are no such network are refused by file and tensor") {
  const TemporaryFolder folder;
  const auto refused = [&](const NamedTensors& weights) {
    const auto path = written(folder, weights);
    const auto error = input_error([&] { Run({{"rule", "mlp_lopt"}, {"weights", path}}); });
    CHECK_THAT(error, Contains(path));
    return error;
  };
  const auto good = small_network(19, 0);
  CHECK_THAT(refused({{"v0", at::ones({2})}}), Contains("has no 'w0'"));
  CHECK_THAT(refused(small_network(39, 0)), Contains("'w0' is [39, 1], [19, outputs]"));
  CHECK_THAT(refused(with(good, "b0", at::zeros({2}))), Contains("'b0' is [2], [1] is needed"));
  CHECK_THAT(refused({good[0], good[2], good[3]}), Contains("has no 'b0'"));
  CHECK_THAT(refused({good[0], good[1]}), Contains("has 1 outputs, 2 are needed"));
  CHECK_THAT(refused(with(good, "w1", at::full({1, 2}, std::nan("")))),
             Contains("'w1' has values that are not finite"));
  CHECK_THAT(refused(with(good, "w1", at::zeros({1, 2}, at::kDouble))),
             Contains("'w1' is Double, F32 is needed"));
  CHECK_THAT(input_error([&] {
               Run({{"rule", "mlp_lopt"}, {"weights", (folder.path() / "none").string()}});
             }),
             Contains("none"));
}
