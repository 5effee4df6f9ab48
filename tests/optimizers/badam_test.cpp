// BAdam's turns: which block moves, whose state is held, saved and dropped. FRUGAL drops state,
// too.
#include <ATen/ATen.h>

#include <set>

#include "core/base/json_fields.hpp"
#include "optimizers/replay.hpp"
#include "optimizers/torch_optimizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/llama_7b.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

nlohmann::json llama(int layers) {
  return {{"vocab_size", 11}, {"block_size", 6}, {"n_layer", layers},
          {"n_head", 4},      {"n_embd", 8},     {"intermediate_size", 12}};
}

struct Run {
  explicit Run(nlohmann::json fields, Gradients gradients = Gradients::kept)
      : store(model_spec("llama", llama(3))->layout(), at::kCPU, at::kFloat, std::nullopt,
              gradients) {
    if (!fields.contains("rule")) fields["rule"] = "badam";
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store, 4);
  }
  // Layers that a step changes; -1: the final norm, -2: the embedding, -3: the head.
  std::set<std::int64_t> step(int draw) {
    fill_gradients(store, draw);
    optimizer->step(kRate);
    std::set<std::int64_t> moved;
    const auto squares = optimizer->squared_updates();
    for (std::size_t i = 0; i < squares.size(); ++i) {
      const auto& parameter = store.layout().parameters()[i];
      const bool embedding = parameter.role == ParameterRole::token_embedding;
      const bool head = parameter.role == ParameterRole::lm_head;
      if (squares[i] > 0.0) moved.insert(embedding ? -2 : head ? -3 : parameter.layer);
    }
    return moved;
  }
  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto& [name, size] : optimizer->state().bytes()) sum += size;
    return sum;
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

std::int64_t layer_size(const ParameterLayout& layout, std::int64_t layer) {
  std::int64_t size = 0;
  for (const auto& p : layout.parameters()) size += p.layer == layer ? p.size() : 0;
  return size;
}

using Turns = std::vector<std::set<std::int64_t>>;

Turns turns(const nlohmann::json& fields, int steps) {
  Run run(fields);
  Turns all;
  for (int draw = 0; draw < steps; ++draw) all.push_back(run.step(draw));
  return all;
}

}  // namespace

TEST_CASE("badam: one layer moves at a time, switch_every steps, in the order asked for") {
  CHECK(turns({{"switch_every", 2}}, 8) == Turns{{2}, {2}, {1}, {1}, {0}, {0}, {2}, {2}});
  CHECK(turns({{"switch_every", 1}, {"order", "ascending"}}, 4) == Turns{{0}, {1}, {2}, {0}});
  CHECK(turns({{"switch_every", 1}, {"include_embedding", true}, {"include_head", true}}, 6) ==
        Turns{{-1, -3}, {2}, {1}, {0}, {-2}, {-1, -3}});
  // Every block once before any comes again, and not always in the same order.
  const auto random = turns({{"switch_every", 1}, {"order", "random"}}, 30);
  std::set<Turns> orders;
  for (std::size_t round = 0; round < 10; ++round) {
    const Turns order(random.begin() + 3 * round, random.begin() + 3 * round + 3);
    CHECK(std::set(order.begin(), order.end()) == std::set<std::set<std::int64_t>>{{0}, {1}, {2}});
    orders.insert(order);
  }
  CHECK(orders.size() > 1);
}

TEST_CASE("badam: replay takes the order of the blocks from the recording") {
  Recording recording;
  const auto matrix = [](const char* name, std::int64_t layer) {
    Parameter parameter;
    parameter.name = name;
    parameter.shape = {2, 3};
    parameter.layer = layer;
    return parameter;
  };
  recording.layout = ParameterLayout({matrix("a", 0), matrix("b", 1), matrix("c", 2)});
  recording.weights = {at::ones({2, 3}), at::ones({2, 3}), at::ones({2, 3})};
  for (int step = 0; step < 6; ++step) recording.steps.push_back({recording.weights, {{}, {}, {}}});
  recording.draws = {{"random/1/*", at::tensor({1, 2, 0}, at::kLong)},
                     {"random/2/*", at::tensor({2, 0, 1}, at::kLong)}};
  const nlohmann::json fields = {{"rule", "badam"}, {"switch_every", 1}, {"order", "random"}};
  const auto outcome = replay(recording, optimizer_config(fields), 0);
  std::string moved;
  for (std::size_t i = 0; i < 18; ++i) {
    const auto& before = i < 3 ? recording.weights[i] : outcome.tensors[i - 3].second;
    if (!at::equal(before, outcome.tensors[i].second)) moved += outcome.tensors[i].first.back();
  }
  CHECK(moved == "bcacab");
}

TEST_CASE("badam: a turn is AdamW from its start, on the block alone") {
  Run run({{"switch_every", 2}, {"weight_decay", 0.1}, {"gradient_clip", 0.0}});
  for (int turn = 0; turn < 4; ++turn) {
    Run adamw({{"rule", "adamw"}, {"beta2", 0.999}, {"weight_decay", 0.1}, {"gradient_clip", 0.0}});
    adamw.store.parameters().copy_(run.store.parameters());
    for (int step = 0; step < 2; ++step) {
      run.step(2 * turn + step);
      adamw.step(2 * turn + step);
    }
    const std::int64_t layer = (2 - turn + 3) % 3;
    for (std::size_t i = 0; i < run.store.tensors().size(); ++i) {
      if (run.store.layout().parameters()[i].layer != layer) continue;
      CHECK(at::equal(run.store.tensors()[i], adamw.store.tensors()[i]));
    }
  }
}

TEST_CASE("badam: state is that of the largest block, in memory, in bytes and where it is saved") {
  const Run run(nlohmann::json::object());
  CHECK(run.bytes() == 8 * layer_size(run.store.layout(), 1));
  const auto saved = run.optimizer->state().by_parameter();
  REQUIRE(saved.size() == 2);
  CHECK(saved[0].first == "exp_avg/*");
  CHECK(saved[1].first == "exp_avg_sq/*");
  CHECK(saved[0].second.numel() == layer_size(run.store.layout(), 1));
  // 1.6 GB for LLaMA-7B, of AdamW's 53.9.
  ParameterStore large(llama_7b(), at::kMeta);
  const Optimizer on_meta(optimizer_config({{"rule", "badam"}}), large);
  std::int64_t bytes = 0;
  for (const auto& [name, size] : on_meta.state().bytes()) bytes += size;
  CHECK(bytes == 8 * (4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096));
  const nlohmann::json fields = {{"state", {{"second_moments", "bf16"}, {"smallest", 1}}}};
  const Run coded(fields);
  CHECK(coded.bytes() == 6 * layer_size(run.store.layout(), 1));
}

TEST_CASE("badam: a run goes on bit for bit before, at and after a switch, in every format") {
  for (const std::string format : {"fp32", "bf16", "dynamic_8bit"}) {
    const nlohmann::json fields = {{"switch_every", 2},
                                   {"state", {{"second_moments", format}, {"smallest", 1}}}};
    for (int at = 1; at < 4; ++at) {
      INFO(format << ", from step " << at);
      Run through(fields), resumed(fields);
      for (int draw = 0; draw < at; ++draw) through.step(draw);
      resumed.store.parameters().copy_(through.store.parameters());
      resumed.optimizer->load_state(at, through.optimizer->state().by_parameter());
      for (int draw = at; draw < at + 3; ++draw) CHECK(through.step(draw) == resumed.step(draw));
      CHECK(at::equal(through.store.parameters(), resumed.store.parameters()));
    }
  }
}

TEST_CASE("badam and frugal: state is dropped at a switch whose gradient is not finite, too") {
  for (const std::string rule : {"badam", "frugal"}) {
    INFO(rule);
    const auto every = rule == "badam" ? "switch_every" : "update_every";
    Run run({{"rule", rule}, {every, 2}, {"gradient_clip", 0.0}}, Gradients::released);
    const auto& parameters = run.store.layout().parameters();
    const auto layer = rule == "badam" ? 1 : 2;
    const auto step = [&](double gradient) {
      run.optimizer->begin_step(kRate);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        run.optimizer->update(i, at::full(parameters[i].shape, gradient));
      }
      run.optimizer->end_step();
    };
    for (const double gradient : {1.0, 1.0, std::nan(""), 0.5}) step(gradient);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].layer != layer || !parameters[i].is_matrix()) continue;
      const auto& m = run.optimizer->state().of(i).load(0);
      CHECK(at::allclose(m, at::full_like(m, 0.1 * 0.5)));  // (1 - beta1) g of one step
    }
  }
}

TEST_CASE("badam: TorchOptimizer keeps state of the block whose turn it is") {
  ParameterStore store(model_spec("llama", llama(3))->layout(), at::kCPU);
  fill_parameters(store);
  DescribedParameters described;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    described.emplace_back(store.tensors()[i], store.layout().parameters()[i]);
  }
  optim::TorchOptimizer optimizer(
      described, optim::RuleOptions(kRate).rule("badam").options({{"switch_every", 1}}));
  for (int draw = 0; draw < 4; ++draw) {
    fill_gradients(store, draw);
    optimizer.step();
    std::int64_t values = 0;
    for (const auto& [key, state] : optimizer.state()) {
      for (const auto& [name, tensor] : static_cast<const optim::RuleState&>(*state).tensors()) {
        values += tensor.numel();
      }
    }
    CHECK(values == 2 * layer_size(store.layout(), 0));
  }
}

TEST_CASE("badam: no other rule's fallback, whose parameters it would leave alone") {
  OptimizerConfig config;
  config.rule = "muon";
  const nlohmann::json fields = {
      {"rule", "muon"}, {"learning_rate", 1e-2}, {"fallback", {{"rule", "badam"}}}};
  CHECK_THAT(input_error([&] { set_from_json(config, fields); }), Contains("'badam'"));
}
