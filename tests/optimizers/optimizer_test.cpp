// The two forms of every rule, and Adam-mini with one element per block, which is AdamW.
#include "optimizers/optimizer.hpp"

#include <ATen/Parallel.h>

#include "core/autograd.hpp"
#include "optimizers/adam_options.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

// All parameters and state after `steps` steps.
struct Outcome {
  at::Tensor parameters;
  at::Tensor way;  // sum of |update|, element by element
  std::vector<at::Tensor> state;
  std::vector<double> norms;  // of gradient and update, per step
};

Outcome run(const nlohmann::json& fields, const ParameterLayout& layout, int steps,
            bool fused = true) {
  ParameterStore store(layout, at::kCPU);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config(fields), store);
  if (!fused) optimizer.use_tensor_operations();
  Outcome outcome;
  outcome.way = at::full_like(store.parameters(), 1e-30);
  for (int step = 0; step < steps; ++step) {
    fill_gradients(store, step);
    const auto before = store.parameters().clone();
    const auto report = optimizer.step(kRate);
    outcome.way += (store.parameters() - before).abs();
    outcome.norms.push_back(report.gradient_norm);
    outcome.norms.push_back(report.update_norm);
  }
  outcome.parameters = store.parameters().clone();
  for (const auto& [name, tensor] : optimizer.state().buffers())
    outcome.state.push_back(tensor.clone());
  return outcome;
}

bool same_bits(const Outcome& a, const Outcome& b) {
  bool same = at::equal(a.parameters, b.parameters);
  for (std::size_t i = 0; i < a.state.size(); ++i) same = same && at::equal(a.state[i], b.state[i]);
  return same;
}

// Each step rounds a weight a few times and an update a few dozen times, 6e-8 relative, in both
// forms; in units of the weight and of the way it has come.
// `magnified`: by products and decompositions that stand between gradient and step.
void check_close(const Outcome& a, const Outcome& b, int steps, double magnified = 1.0) {
  const auto scale = b.parameters.abs() + b.way;
  CHECK(((a.parameters - b.parameters).abs() / scale).max().item<double>() <
        magnified * 5e-7 * steps);
  for (std::size_t i = 0; i < a.state.size(); ++i) {
    const auto size = b.state[i].abs().max().clamp_min(1e-30);  // state that nothing wrote is 0
    CHECK(((a.state[i] - b.state[i]).abs() / size).max().item<double>() < magnified * 5e-7 * steps);
  }
  for (std::size_t i = 0; i < a.norms.size(); ++i) {
    CHECK(a.norms[i] == Approx(b.norms[i]).epsilon(magnified * 1e-6 * steps));
  }
}

// A rule on one matrix with a structure of its own, in one of its two forms.
struct OneMatrix {
  at::Tensor w, g, m, v;
};

OneMatrix step_structure(const UpdateRule& rule, std::int64_t rows, std::int64_t columns,
                         const Structure& structure, int steps, bool fused) {
  Parameter block;
  block.name = "w";
  block.shape = {rows, columns};
  const ParameterLayout layout({block});
  const Partition partition(layout, "test",
                            {{{{ParameterRole::other, "test", 0, rows, columns, structure, 0}}}});
  const auto specs = rule.state(layout.parameters()[0], partition.tensors()[0]);
  OneMatrix x{formula_values(1, rows * columns).view({rows, columns}).to(at::kFloat),
              {},
              at::zeros(specs[0].shape),
              at::zeros(specs[1].shape)};
  kernels::Workspace space;
  for (int step = 1; step <= steps; ++step) {
    x.g = formula_values(std::uint32_t(step + 1), rows * columns)
              .view({rows, columns})
              .to(at::kFloat);
    const ParameterStep parameter{
        layout.parameters()[0], partition.tensors()[0], x.w, x.g, State({x.m, x.v}), 0.1, nullptr};
    const StepScope scope{step, kRate, 0.5, 0, space};
    if (fused) {
      rule.fused(KernelKey::of(parameter))->apply(parameter, scope);
    } else {
      rule.update(parameter, scope);
    }
  }
  return x;
}

std::unique_ptr<UpdateRule> rule_of(const std::string& name, const nlohmann::json& options) {
  const auto spec = update_rules().make(name);
  set_fields(*spec, options);
  return spec->build();
}

std::vector<std::int32_t> scattered_labels(std::int64_t n, std::int32_t count) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(std::int32_t(i * 7 % count));
  return labels;
}

std::vector<std::int32_t> one_each(std::int64_t n) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(std::int32_t(i));
  return labels;
}

}  // namespace

TEST_CASE("Kernels and tensor operations agree for every rule, partition and model") {
  for (const auto& model : small_models()) {
    const auto layout = model.spec()->layout();
    for (const auto& entry : update_rules()) {
      const bool partitioned = entry.make()->uses_partition();
      const auto names = partitioned ? partition_rule_names() : std::vector<std::string>{"none"};
      for (const auto& name : names) {
        if (name == "released_1_1_1" && model.name == "llama MQA, wide heads") continue;
        INFO(model.name << ", " << entry.name << ", " << name);
        auto fields = smooth_options(entry.name);
        fields["weight_decay"] = 0.1;
        // Kernels sum a norm in another order, and some rules magnify the last bit of its factor.
        fields["gradient_clip"] = 0.0;
        if (partitioned) fields["partition"] = {{"rule", name}};
        check_close(run(fields, layout, 4), run(fields, layout, 4, false), 4,
                    entry.make()->fallback() != nullptr ? 100.0 : 1.0);
      }
    }
  }
}

TEST_CASE("Kernels and tensor operations agree for structures that no rule makes") {
  const auto rule = update_rules().make("adam_mini")->build();
  const std::int64_t rows = 13, columns = 11;
  for (const auto& structure :
       {Structure::tiles(4, 3), Structure::tiles(5, 1), Structure::tiles(1, 4),
        Structure::tiles(40, 40), Structure::factored(5), Structure::factored(1),
        Structure::from_labels(scattered_labels(rows * columns, 9))}) {
    const auto fused = step_structure(*rule, rows, columns, structure, 4, true);
    const auto plain = step_structure(*rule, rows, columns, structure, 4, false);
    INFO(structure_name(structure.kind)
         << " " << structure.tile_rows << " x " << structure.tile_columns);
    CHECK(((fused.w - plain.w).abs() / (plain.w.abs() + kRate)).max().item<double>() < 2e-6);
    CHECK(((fused.v - plain.v).abs() / plain.v.abs().max()).max().item<double>() < 2e-6);
  }
}

// A last bit of the average can be a sign, which is the whole step.
TEST_CASE("Lion's kernel takes the steps of its tensor operations, bit for bit") {
  const std::string target = kernels::simd_target();
  if (target.find("SS") != std::string::npos || target.find("EMU") != std::string::npos) {
    SUCCEED("no fused multiply-add here, LibTorch's own may have");
    return;
  }
  const nlohmann::json fields = {{"rule", "lion"}, {"weight_decay", 0.1}, {"gradient_clip", 0.0}};
  for (const auto& model : small_models()) {
    INFO(model.name);
    const auto layout = model.spec()->layout();
    CHECK(same_bits(run(fields, layout, 5), run(fields, layout, 5, false)));
  }
}

TEST_CASE("Nesterov momentum agrees in both forms") {
  const nlohmann::json fields = {{"rule", "sgd_momentum"}, {"nesterov", true}};
  const auto layout = small_models()[0].spec()->layout();
  check_close(run(fields, layout, 4), run(fields, layout, 4, false), 4);
  CHECK_FALSE(same_bits(run(fields, layout, 4), run({{"rule", "sgd_momentum"}}, layout, 4)));
}

TEST_CASE("Adam-mini with one element per block is AdamW bit for bit") {
  for (const auto& model : small_models()) {
    INFO(model.name);
    const auto layout = model.spec()->layout();
    const nlohmann::json shared = {{"weight_decay", 0.1}, {"gradient_clip", 0.5}};
    auto mini = shared, adamw = shared;
    mini.update({{"rule", "adam_mini"}, {"partition", {{"rule", "per_element"}}}});
    adamw["rule"] = "adamw";
    CHECK(same_bits(run(mini, layout, 20), run(adamw, layout, 20)));
  }
}

TEST_CASE("Explicit tiles of one element and labels of one element are AdamW bit for bit") {
  const nlohmann::json options = {{"beta1", 0.9}, {"beta2", 0.95}, {"eps", 1e-8}};
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{13, 37}, {1, 300001}}) {
    const auto adamw = step_structure(*rule_of("adamw", options), rows, columns,
                                      Structure::per_element(), 20, true);
    for (const auto& structure :
         {Structure::tiles(1, 1), Structure::from_labels(one_each(rows * columns))}) {
      INFO(rows << " x " << columns << " " << structure_name(structure.kind));
      const auto mini =
          step_structure(*rule_of("adam_mini", options), rows, columns, structure, 20, true);
      CHECK(at::equal(mini.w, adamw.w));
      CHECK(at::equal(mini.m, adamw.m));
      CHECK(at::equal(mini.v.flatten(), adamw.v.flatten()));
    }
  }
}

TEST_CASE("One block per element of a column is per element too") {
  // A vector is [n, 1]: a tile per row, or per_row, is a tile per element.
  const auto options = nlohmann::json::object();
  const auto adamw =
      step_structure(*rule_of("adamw", options), 101, 1, Structure::per_element(), 5, true);
  const auto rows =
      step_structure(*rule_of("adam_mini", options), 101, 1, Structure::tiles(1, 1), 5, true);
  CHECK(at::equal(rows.w, adamw.w));
}

TEST_CASE("An optimizer's results do not depend on the number of threads") {
  // 65536 elements per matrix and more: above the size from which the kernels use threads.
  const auto layout = model_spec("llama", {{"vocab_size", 150},
                                           {"block_size", 8},
                                           {"n_layer", 1},
                                           {"n_head", 4},
                                           {"n_kv_head", 2},
                                           {"n_embd", 256}})
                          ->layout();
  const int before = at::get_num_threads();
  for (const auto& entry : update_rules()) {
    // LibTorch's matrix products and decompositions sum in an order that follows the threads.
    if (entry.make()->fallback() != nullptr || entry.name == "ada_pm") continue;
    const bool follows = entry.make()->uses_partition();
    for (const std::string rule : {"adam_mini", "per_tensor", "factored"}) {
      if (!follows && rule != "factored") continue;
      nlohmann::json fields = {{"rule", entry.name}};
      if (follows) fields["partition"] = {{"rule", rule}};
      at::set_num_threads(1);
      const auto one = run(fields, layout, 2);
      at::set_num_threads(2);
      const auto two = run(fields, layout, 2);
      at::set_num_threads(before);
      INFO(entry.name << ", " << rule);
      CHECK(same_bits(one, two));
      CHECK(one.norms == two.norms);
    }
  }
}

// Tensors of all sizes: some that a thread takes whole, some that all threads share; in few bytes,
// too, where each thread decodes into memory of its own.
TEST_CASE("An optimizer goes on to the same bits when the number of threads changes") {
  const auto layout = model_spec("llama", {{"vocab_size", 150},
                                           {"block_size", 8},
                                           {"n_layer", 3},
                                           {"n_head", 4},
                                           {"n_kv_head", 2},
                                           {"n_embd", 256}})
                          ->layout();
  const int before = at::get_num_threads();
  for (const std::string format : {"fp32", "dynamic_8bit", "companded_8bit", "dynamic_4bit"}) {
    for (const std::string rule : {"adamw", "adam_mini", "lion"}) {
      INFO(rule << ", " << format);
      nlohmann::json fields = {{"rule", rule}, {"state", {{"first_moments", format}}}};
      if (rule == "adamw") fields["state"]["second_moments"] = format;
      std::vector<at::Tensor> results;
      for (const std::vector<int>& threads :
           {std::vector{1, 1, 1, 1}, {2, 3, 1, 2}, {5, 5, 5, 5}}) {
        ParameterStore store(layout, at::kCPU);
        fill_parameters(store);
        Optimizer optimizer(optimizer_config(fields), store, 1);
        for (std::size_t step = 0; step < threads.size(); ++step) {
          at::set_num_threads(threads[step]);
          fill_gradients(store, int(step));
          optimizer.step(kRate);
        }
        results.push_back(store.parameters());
      }
      at::set_num_threads(before);
      CHECK(at::equal(results[0], results[1]));
      CHECK(at::equal(results[0], results[2]));
    }
  }
}

TEST_CASE("Parameters in double take the tensor operations") {
  const auto model = small_models()[4];
  ParameterStore store(model.spec()->layout(), at::kCPU, at::kDouble);
  fill_parameters(store);
  fill_gradients(store, 0);
  Optimizer optimizer(optimizer_config({{"rule", "adam_mini"}}), store);
  optimizer.step(kRate);
  const auto expected = run({{"rule", "adam_mini"}}, model.spec()->layout(), 1).parameters;
  const auto actual = store.parameters().to(at::kFloat);
  CHECK(((actual - expected).abs() / (expected.abs() + kRate)).max().item<double>() < 5e-7);
}
