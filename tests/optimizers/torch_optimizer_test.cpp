// TorchOptimizer: it is the optimizer whose rule it has, and it keeps LibTorch's protocol.
#include "optimizers/torch_optimizer.hpp"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/optim/adamw.h>
#include <torch/optim/schedulers/step_lr.h>
#include <torch/serialize.h>

#include <sstream>

#include "core/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace nn = torch::nn;
namespace optim = blockwise::optim;

namespace {

// Linear layers, a norm and an attention whose parameters are the formula's.
struct Net : nn::Module {
  Net() {
    std::uint32_t stream = 1;
    at::NoGradGuard no_grad;
    for (auto& p : parameters()) {
      p.copy_((formula_values(stream++, p.numel()) * 0.4).view(p.sizes()));
    }
  }
  at::Tensor forward(const at::Tensor& tokens) {
    const auto x = embedding(tokens);
    const auto [mixed, weights] = attention(x, x, x);
    return head(at::relu(norm(x + mixed)));
  }
  at::Tensor loss() {
    const auto tokens = (at::arange(24) * 7).remainder(11).view({6, 4});
    const auto targets = (at::arange(24) * 5).remainder(3);
    return at::cross_entropy_loss(forward(tokens).view({24, 3}), targets);
  }
  at::Tensor flat() const {
    std::vector<at::Tensor> parts;
    for (const auto& p : parameters()) parts.push_back(p.detach().flatten().to(at::kDouble));
    return at::cat(parts);
  }

  nn::Embedding embedding = register_module("embedding", nn::Embedding(11, 8));
  nn::MultiheadAttention attention =
      register_module("attention", nn::MultiheadAttention(nn::MultiheadAttentionOptions(8, 2)));
  nn::LayerNorm norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({8})));
  nn::Linear head = register_module("head", nn::Linear(8, 3));
};

void train(Net& net, torch::optim::Optimizer& optimizer, int steps) {
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    backward(net.loss());
    optimizer.step();
  }
}

optim::RuleOptions mini(double lr, double weight_decay = 0.0) {
  return optim::RuleOptions(lr).rule("adam_mini").weight_decay(weight_decay);
}

optim::RuleOptions adamw(double lr, double weight_decay = 0.0) {
  return optim::RuleOptions(lr).weight_decay(weight_decay);
}

const optim::RuleState& state_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  return static_cast<const optim::RuleState&>(
      *optimizer.state().at(parameter.unsafeGetTensorImpl()));
}

}  // namespace

TEST_CASE("AdamW is torch::optim::AdamW over ten steps of a module") {
  const auto ours = std::make_shared<Net>(), theirs = std::make_shared<Net>();
  optim::TorchOptimizer a(ours->parameters(), adamw(1e-2, 0.1));
  torch::optim::AdamW b(
      theirs->parameters(),
      torch::optim::AdamWOptions(1e-2).weight_decay(0.1).betas(std::make_tuple(0.9, 0.95)));
  for (int step = 1; step <= 10; ++step) {
    // Gradients by formula: the true one of a key's bias is rounding noise, which Adam amplifies.
    for (const auto& net : {ours, theirs}) {
      std::uint32_t stream = 100 * std::uint32_t(step);
      for (auto& p : net->parameters()) {
        p.mutable_grad() = formula_values(stream++, p.numel()).view(p.sizes()).to(at::kFloat);
      }
    }
    a.step();
    b.step();
    // Relative to the weight and to the way that it may have come, as for the golden files.
    const auto error = (ours->flat() - theirs->flat()).abs() / (theirs->flat().abs() + 1e-2 * step);
    CHECK(error.max().item<double>() < 1e-6);
  }
  CHECK((ours->flat() - std::make_shared<Net>()->flat()).abs().max().item<double>() > 0.05);
}

TEST_CASE("Every rule is the Optimizer of the runs, bit for bit") {
  const auto model = small_models()[0];
  for (const auto& rule : update_rules().names()) {
    INFO(rule);
    ParameterStore run(model.spec()->layout(), at::kCPU), own(model.spec()->layout(), at::kCPU);
    fill_parameters(run);
    fill_parameters(own);
    Optimizer reference(optimizer_config({{"rule", rule},
                                          {"weight_decay", 0.1},
                                          {"no_decay", nlohmann::json::array()},
                                          {"gradient_clip", 0.0}}),
                        run);
    DescribedParameters described;
    for (std::size_t i = 0; i < own.tensors().size(); ++i) {
      described.emplace_back(own.tensors()[i], own.layout().parameters()[i]);
    }
    const auto options = optim::RuleOptions(1e-2).rule(rule).weight_decay(0.1);
    if (takes_curvature(rule)) {
      CHECK_THAT(input_error([&] { optim::TorchOptimizer refused(described, options); }),
                 Contains("takes estimates of the curvature"));
      continue;
    }
    optim::TorchOptimizer optimizer(described, options);
    for (int step = 0; step < 3; ++step) {
      fill_gradients(run, step);
      fill_gradients(own, step);
      reference.step(1e-2);
      optimizer.step();
    }
    CHECK(at::equal(run.parameters(), own.parameters()));
  }
}

TEST_CASE("AdamMini describes a module by types and holds one value per block") {
  const auto net = std::make_shared<Net>();
  optim::TorchOptimizer optimizer(*net, mini(1e-2));
  train(*net, optimizer, 1);
  std::int64_t first = 0, second = 0;
  for (const auto& [key, state] : optimizer.state()) {
    first += static_cast<const optim::RuleState&>(*state).tensor("exp_avg").numel();
    second += static_cast<const optim::RuleState&>(*state).tensor("exp_avg_sq").numel();
  }
  CHECK(first == net->flat().numel());
  // Embedding 11 rows; in_proj 2 + 2 heads and 8 rows, biases 24; out_proj 8 + 8; norm 8 + 8;
  // head 3 + 3.
  CHECK(second == 11 + 12 + 24 + 16 + 16 + 6);
  const double before = net->loss().item<double>();
  train(*net, optimizer, 50);
  CHECK(net->loss().item<double>() < 0.6 * before);
}

TEST_CASE("With the rule per_element AdamMini is AdamW bit for bit") {
  const auto a = std::make_shared<Net>(), b = std::make_shared<Net>();
  optim::TorchOptimizer first(*a, mini(1e-2, 0.1).partition("per_element"));
  optim::TorchOptimizer second(b->parameters(), adamw(1e-2, 0.1));
  train(*a, first, 5);
  train(*b, second, 5);
  CHECK(at::equal(a->flat(), b->flat()));
}

TEST_CASE("Rules by role reach the sections of a fused projection") {
  const auto net = std::make_shared<Net>();
  optim::TorchOptimizer optimizer(*net, mini(1e-2).by_role({{ParameterRole::value, "per_tensor"}}));
  train(*net, optimizer, 1);
  const auto& state = state_of(optimizer, net->attention->in_proj_weight);
  CHECK(state.tensor("exp_avg_sq").numel() == 2 + 2 + 1);
}

TEST_CASE("Saved and loaded optimizers continue bit for bit") {
  const std::string rule =
      GENERATE("adamw", "adam_mini", "muon", "lomo", "gefen", "micro_adam", "badam");
  const auto make = [&](Net& net) {
    return std::make_unique<optim::TorchOptimizer>(
        net, optim::RuleOptions(1e-2).rule(rule).weight_decay(0.1));
  };
  const auto through = std::make_shared<Net>(), resumed = std::make_shared<Net>();
  auto a = make(*through);
  train(*through, *a, 3);
  a->param_groups()[0].options().set_lr(3e-3);
  std::stringstream model_file, optimizer_file;
  torch::save(through, model_file);
  torch::save(*a, optimizer_file);

  auto net = resumed;
  torch::load(net, model_file);
  auto b = make(*net);
  torch::load(*b, optimizer_file);
  CHECK(b->param_groups()[0].options().get_lr() == 3e-3);
  train(*through, *a, 3);
  train(*net, *b, 3);
  CHECK(at::equal(through->flat(), net->flat()));
}

TEST_CASE("A saved AdamMini with another partition is refused") {
  const auto net = std::make_shared<Net>();
  optim::TorchOptimizer rows(*net, mini(1e-2)), whole(*net, mini(1e-2).partition("per_tensor"));
  train(*net, whole, 1);
  std::stringstream file;
  torch::save(whole, file);
  CHECK_THAT(input_error([&] { torch::load(rows, file); }),
             Contains("'per_tensor'") && Contains("'adam_mini'"));
}

TEST_CASE("LibTorch's schedulers set the rate") {
  const auto net = std::make_shared<Net>(), same = std::make_shared<Net>();
  optim::TorchOptimizer optimizer(*net, mini(1e-2)), by_hand(*same, mini(1e-2));
  torch::optim::StepLR scheduler(optimizer, /*step_size=*/1, /*gamma=*/0.5);
  // LibTorch's StepLR keeps the rate at its first step.
  for (const double rate : {1e-2, 1e-2, 5e-3, 2.5e-3}) {
    CHECK(optimizer.param_groups()[0].options().get_lr() == Approx(rate).epsilon(1e-12));
    by_hand.param_groups()[0].options().set_lr(optimizer.param_groups()[0].options().get_lr());
    train(*net, optimizer, 1);
    train(*same, by_hand, 1);
    scheduler.step();
  }
  CHECK(at::equal(net->flat(), same->flat()));
}

TEST_CASE("Groups have options of their own") {
  const auto net = std::make_shared<Net>();
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(net->head->parameters(),
                      std::make_unique<optim::RuleOptions>(mini(0.0).partition("per_tensor")));
  groups.emplace_back(net->norm->parameters());
  optim::TorchOptimizer optimizer(groups, describe_modules(*net), mini(1e-2));
  const auto head = net->head->weight.detach().clone();
  const auto gain = net->norm->weight.detach().clone();
  train(*net, optimizer, 1);
  CHECK(at::equal(net->head->weight, head));  // its rate is 0
  CHECK_FALSE(at::equal(net->norm->weight, gain));
  CHECK(state_of(optimizer, net->head->weight).tensor("exp_avg_sq").numel() == 1);
}

TEST_CASE("Closures are called with gradients, parameters without one are skipped") {
  const auto net = std::make_shared<Net>();
  optim::TorchOptimizer optimizer(net->parameters(), adamw(1e-2));
  const auto before = net->flat();
  CHECK_FALSE(optimizer.step().defined());
  CHECK(at::equal(net->flat(), before));  // no gradient yet
  const auto loss = optimizer.step([&] {
    optimizer.zero_grad();
    auto value = net->loss();
    backward(value);
    return value;
  });
  CHECK(loss.item<double>() > 0.0);
  CHECK_FALSE(at::equal(net->flat(), before));
}

TEST_CASE("Strided, reduced-precision and double parameters take the same step") {
  const auto step = [](at::Tensor start, auto make) {
    auto parameter = start.detach().requires_grad_(true);
    // The same gradient for every type: bfloat16 holds it exactly.
    parameter.mutable_grad() =
        (formula_values(3, start.numel()).view(start.sizes()).to(at::kBFloat16))
            .to(start.scalar_type());
    const auto optimizer = make(parameter);
    for (int i = 0; i < 3; ++i) optimizer->step();
    return parameter.detach().to(at::kDouble);
  };
  const auto elements = [](const at::Tensor& p) -> std::unique_ptr<torch::optim::Optimizer> {
    return std::make_unique<optim::TorchOptimizer>(std::vector<at::Tensor>{p}, adamw(1e-2));
  };
  const auto rows = [](const at::Tensor& p) -> std::unique_ptr<torch::optim::Optimizer> {
    Parameter block;
    block.name = "p";
    block.shape = p.sizes().vec();
    return std::make_unique<optim::TorchOptimizer>(DescribedParameters{{p, block}}, mini(1e-2));
  };
  const auto start = formula_values(2, 35).view({5, 7}).to(at::kBFloat16);
  const auto largest = [](const at::Tensor& x) { return x.abs().max().item<double>(); };
  const auto check = [&](auto make) {
    const at::Tensor expected = step(start.to(at::kFloat), make);
    CHECK(at::equal(step(start.to(at::kFloat).t().contiguous().t(), make), expected));
    // Roundings: 6e-8 of a weight below 1 per step, and those of the state.
    CHECK(largest(step(start.to(at::kDouble), make) - expected) < 5e-7);
    // bfloat16 keeps 8 bits of a weight below 1: half a unit is 2^-9, twice a step.
    CHECK(largest(step(start, make) - expected) < 6 * 0x1p-9);
  };
  check(elements);
  check(rows);
}

TEST_CASE("Rules that draw at random draw for every parameter anew") {
  for (const std::string rule : {"apollo", "frugal"}) {
    INFO(rule);
    const auto start = formula_values(2, 48).view({6, 8});
    std::vector<at::Tensor> twins;
    for (int i = 0; i < 2; ++i) {
      auto& twin = twins.emplace_back(start.clone().requires_grad_(true));
      twin.mutable_grad() = formula_values(3, 48).view({6, 8});
    }
    optim::TorchOptimizer(twins, optim::RuleOptions(1e-2).rule(rule)).step();
    CHECK_FALSE(at::equal(twins[0], start));
    CHECK_FALSE(at::equal(twins[0], twins[1]));
  }
}

TEST_CASE("Bad options, gradients and descriptions are refused") {
  const auto net = std::make_shared<Net>();
  const auto parameters = net->parameters();
  const auto refused = [&](const optim::RuleOptions& options) {
    return input_error([&] { optim::TorchOptimizer(parameters, options); });
  };
  const auto with = [](const nlohmann::json& options) {
    return optim::RuleOptions().options(options);
  };
  CHECK_THAT(refused(optim::RuleOptions(-1.0)), Contains("lr is -1"));
  CHECK_THAT(refused(optim::RuleOptions().weight_decay(-0.1)), Contains("weight_decay is -0.1"));
  CHECK_THAT(refused(optim::RuleOptions().rule("adam")), Contains("unknown optimizer 'adam'"));
  CHECK_THAT(refused(with({{"beta1", 1.0}})), Contains("beta1 is 1, allowed are 0 to 1, not the"));
  CHECK_THAT(refused(with({{"beta2", -0.1}})), Contains("beta2 is -0.1"));
  CHECK_THAT(refused(with({{"eps", 0.0}})), Contains("eps is 0"));
  CHECK_THAT(refused(with({{"eps", "small"}})), Contains("eps is \"small\", which is of another"));
  CHECK_THAT(refused(with({{"beta3", 0.9}})), Contains("there is no option 'beta3'"));
  const nlohmann::json nested = {{"fallback", {{"rule", "galore"}}}};
  CHECK_THAT(refused(optim::RuleOptions().rule("muon").options(nested)),
             Contains("fallback.rule is 'galore', allowed are adamw, adam_mini"));
  CHECK_THAT(refused(mini(1e-2)), Contains("follows a partition") && Contains("no description"));
  CHECK_THAT(input_error([&] { optim::TorchOptimizer(*net, mini(1e-2).partition("rows")); }),
             Contains("'rows'"));

  auto described = describe_modules(*net);
  described.back().second.shape = {2};
  CHECK_THAT(input_error([&] { optim::TorchOptimizer(described, mini(1e-2)); }),
             Contains("'head.bias' has 3 elements, its description 2"));
  described.pop_back();
  CHECK_THAT(input_error([&] {
               optim::TorchOptimizer({torch::optim::OptimizerParamGroup(parameters)}, described,
                                     mini(1e-2));
             }),
             Contains("a parameter of 3 elements has no description"));

  optim::TorchOptimizer optimizer(*net, mini(1e-2));
  auto late = at::ones({5}).requires_grad_(true);
  late.mutable_grad() = at::ones({5});
  optimizer.add_param_group({{late}});
  CHECK_THAT(input_error([&] { optimizer.step(); }), Contains("without a description"));

  nn::Embedding sparse(nn::EmbeddingOptions(5, 2).sparse(true));
  optim::TorchOptimizer table(sparse->parameters());
  backward(sparse(at::zeros({1}, at::kLong)).sum());
  CHECK_THAT(input_error([&] { table.step(); }), Contains("sparse"));
}
