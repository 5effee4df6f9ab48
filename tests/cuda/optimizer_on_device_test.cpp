// The whole Optimizer on the device, against the CPU's.
#include <cmath>

#include "tests/cuda/tested_device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Stepped {
  Stepped(nlohmann::json fields, at::Device device)
      : store(small_models()[4].spec()->layout(), device) {
    fields["weight_decay"] = 0.1;
    fill_parameters(store);
    optimizer = std::make_unique<Optimizer>(optimizer_config(fields), store);
  }
  StepReport step(int draw) {
    fill_gradients(store, draw);
    return optimizer->step(1e-2);
  }

  ParameterStore store;
  std::unique_ptr<Optimizer> optimizer;
};

// Sums have other orders, and other rules' tensor operations other roundings: in three steps a few
// units in the last place of weights of size 1.
constexpr double kRounding = 1e-6;
// A code that falls on the other side of a threshold: a sixteenth of a block's largest moment, in
// each of three steps of the size 1e-2.
constexpr double kCode = 2e-3;

void check_like_the_cpu(const nlohmann::json& fields, bool by_kernels,
                        double tolerance = kRounding) {
  INFO(fields.dump());
  Stepped device(fields, tested_device()), cpu(fields, at::kCPU);
  if (by_kernels) REQUIRE(device.optimizer->use_flat_steps(tested_stepper()));
  for (int draw = 0; draw < 3; ++draw) {
    const auto report = device.step(draw), expected = cpu.step(draw);
    CHECK(report.gradient_norm == Approx(expected.gradient_norm).epsilon(1e-6));
    CHECK(report.update_norm == Approx(expected.update_norm).epsilon(10 * tolerance));
  }
  CHECK(difference(device.store.parameters(), cpu.store.parameters()) < tolerance);
}

}  // namespace

TEST_CASE("device optimizer: every rule with kernels takes the CPU's steps") {
  for (const std::string rule :
       {"adamw", "adam_mini", "blockwise_sgd", "sgd", "sgd_momentum", "lion"}) {
    check_like_the_cpu({{"rule", rule}}, true);
  }
}

TEST_CASE("device optimizer: every structure of a partition") {
  for (const std::string partition : {"per_tensor", "per_column", "per_row", "per_head", "factored",
                                      "factored_per_head", "per_element"}) {
    check_like_the_cpu({{"rule", "adam_mini"}, {"partition", {{"rule", partition}}}}, true);
  }
}

TEST_CASE("device optimizer: rates that change from step to step") {
  check_like_the_cpu({{"rule", "adam_mini"}, {"rates", {{"method", "blockwise_lr"}}}}, true);
}

TEST_CASE("device optimizer: state in fewer bits") {
  for (const std::string codec :
       {"bf16", "dynamic_8bit", "companded_8bit", "dynamic_4bit", "fp8"}) {
    const nlohmann::json state = {
        {"first_moments", codec}, {"second_moments", codec}, {"smallest", 1}};
    for (const std::string rule : {"adamw", "adam_mini", "nadamw"}) {
      check_like_the_cpu({{"rule", rule}, {"state", state}}, false, kCode);
    }
  }
}

TEST_CASE("device optimizer: state whose codes are LibTorch's operations") {
  const nlohmann::json state = {
      {"first_moments", "codebook_8bit"}, {"second_moments", "rank1_4bit"}, {"smallest", 1}};
  check_like_the_cpu({{"rule", "adamw"}, {"state", state}}, false, kCode);
}

TEST_CASE("device optimizer: masters beside bfloat16 weights") {
  for (const auto format : {MasterWeights::lossless_16bit, MasterWeights::residual_8bit,
                            MasterWeights::kahan, MasterWeights::stochastic, MasterWeights::none}) {
    INFO(master_weights_names()[std::size_t(format)]);
    const auto config = optimizer_config({{"rule", "adam_mini"}});
    std::vector<std::unique_ptr<ParameterStore>> stores;
    for (const auto device : {tested_device(), at::Device(at::kCPU)}) {
      auto& store = *stores.emplace_back(
          std::make_unique<ParameterStore>(small_models()[4].spec()->layout(), device, at::kFloat,
                                           MixedPrecision{{ParameterRole::norm}, {}, format}));
      fill_masters(store);
      Optimizer optimizer(config, store);
      for (int draw = 0; draw < 3; ++draw) {
        fill_gradients(store, draw);
        optimizer.step(1e-2);
      }
    }
    // Rounded to bfloat16 and back: a step of it, 2^-7, where the last place decides.
    const bool keeps_rest = format == MasterWeights::lossless_16bit;
    for (std::size_t i = 0; i < stores[0]->tensors().size(); ++i) {
      CHECK(difference(stores[0]->master(i), stores[1]->master(i)) <
            (keeps_rest ? kRounding : 0.01));
    }
  }
}

TEST_CASE("device optimizer: rules without kernels, by LibTorch's operations") {
  for (const std::string rule : {"nadamw", "adafactor", "lomo"}) {
    check_like_the_cpu({{"rule", rule}}, false);
  }
}

// Matrices of one shape step together there, tensor by tensor on the CPU. Iterations of matrix
// products carry roundings on.
TEST_CASE("device optimizer: rules of whole matrices, in stacks") {
  for (const std::string rule : {"muon", "normuon", "rmnp", "scale"}) {
    check_like_the_cpu({{"rule", rule}}, false, 2e-3);
  }
}
