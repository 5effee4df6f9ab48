// Bytes are those that an update must move once: parameters read and written, gradients read, state
// read and written. Every step finds the gradient's norm, too, which reads the gradients once more
// (4 bytes a parameter that are not counted) and which LibTorch's kernel does not do; "with
// clipping" also multiplies by the factor.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "core/base/json_fields.hpp"
#include "core/model.hpp"
#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/memory_cases.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {
namespace {

constexpr const char* kFused = "at::_fused_adamw_";
constexpr std::int64_t kStreamed = 100'000'000;  // numbers of copy and triad: beyond all caches

// GPT-2's kinds of tensors, as many layers as the size has room for: at width 512, or at a smaller
// one where that has no room for a single layer.
ParameterLayout layout_of(std::int64_t parameters) {
  const auto spec = model_families().make("gpt2");
  std::int64_t width = 512;
  while (width > 32 && 28 * width * width > parameters) width /= 2;
  const auto vocabulary = 16 * width;
  const auto layers = (parameters - vocabulary * width) / (12 * width * width);
  set_from_json(*spec, {{"vocab_size", vocabulary},
                        {"block_size", 256},
                        {"n_embd", width},
                        {"n_head", 8},
                        {"n_layer", std::clamp<std::int64_t>(layers, 1, 1024)}});
  return spec->layout();
}

// `count` matrices of so many rows of 256 numbers.
ParameterLayout matrices(std::int64_t count, std::int64_t rows) {
  std::vector<Parameter> tensors;
  for (std::int64_t i = 0; i < count; ++i) {
    Parameter matrix;
    matrix.name = fmt::format("matrix.{}", i);
    matrix.shape = {rows, 256};
    matrix.role = ParameterRole::mlp_in;
    tensors.push_back(matrix);
  }
  return ParameterLayout(std::move(tensors));
}

std::shared_ptr<ParameterStore> filled_store(ParameterLayout layout, at::Device device) {
  auto store = std::make_shared<ParameterStore>(std::move(layout), device);
  store->initialize(1);
  store->gradients().normal_(0.0, 1e-3);
  return store;
}

OptimizerConfig config_of(const nlohmann::json& fields) {
  OptimizerConfig config;
  config.rule = fields.at("rule");
  set_from_json(config, fields);
  return config;
}

// That a step must move, from an optimizer without memory.
double bytes_of(const OptimizerConfig& config, const ParameterLayout& layout) {
  ParameterStore store(layout, at::kMeta);
  const Optimizer optimizer(config, store);
  std::int64_t state = 0;
  for (const auto& [kind, size] : optimizer.state().bytes()) state += size;
  return double(12 * layout.size() + 2 * state);
}

// State is there from the first step on: a case that is not chosen takes none.
BenchCase update_case(const std::string& name, const std::shared_ptr<ParameterStore>& store,
                      nlohmann::json fields) {
  if (!fields.contains("gradient_clip")) fields["gradient_clip"] = 0.0;
  const auto config = config_of(fields);
  const auto run = [config, store, optimizer = std::shared_ptr<Optimizer>()]() mutable {
    if (!optimizer) optimizer = std::make_shared<Optimizer>(config, *store);
    optimizer->step(1e-6);
  };
  return {.name = name,
          .run = run,
          .bytes = bytes_of(config, store->layout()),
          .limit = "triad",
          .baseline = kFused};
}

BenchCase fused_case(const std::shared_ptr<ParameterStore>& store) {
  struct Lists {
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
  };
  auto lists = std::make_shared<Lists>();
  const auto fill = [](Lists& all, const ParameterStore& of) {
    for (const auto& tensor : of.tensors()) {
      all.parameters.push_back(tensor.detach());
      all.gradients.push_back(tensor.grad());
      all.first.push_back(at::zeros_like(all.parameters.back()));
      all.second.push_back(at::zeros_like(all.parameters.back()));
      all.steps.push_back(at::zeros({}, at::TensorOptions(of.device()).dtype(at::kFloat)));
    }
  };
  const auto run = [lists, store, fill] {
    const at::NoGradGuard no_grad;
    if (lists->steps.empty()) fill(*lists, *store);
    for (auto& count : lists->steps) count.add_(1.0);
    at::_fused_adamw_(lists->parameters, lists->gradients, lists->first, lists->second, {},
                      lists->steps, /*lr=*/1e-6, 0.9, 0.95, /*weight_decay=*/0.1, 1e-8,
                      /*amsgrad=*/false, /*maximize=*/false);
  };
  return {.name = kFused,
          .run = run,
          .bytes = 28.0 * double(store->layout().size()),
          .limit = "triad",
          .baseline = ""};
}

// A rule over many tensors of together 8 million numbers, in the time that it takes over one tensor
// of all of them.
void add_many_tensors(BenchGroup& group, const std::string& rule, const BenchSubject& sizes) {
  const auto all_rows = std::min<std::int64_t>(sizes.parameters, 2000 * 4096) / 256;
  const auto count = std::min(sizes.tensors, all_rows);
  const auto rows = all_rows / count;
  const auto add = [&](const std::string& name, const ParameterLayout& layout) -> BenchCase& {
    group.cases.push_back(update_case(name, filled_store(layout, sizes.device), {{"rule", rule}}));
    return group.cases.back();
  };
  const auto one = add(rule + ", 1 tensor", matrices(1, rows * count)).name;
  add(fmt::format("{}, {} tensors", rule, count), matrices(count, rows)).baseline = one;
}

using AddCase = std::function<void(const std::string&, const nlohmann::json&)>;

// Rules that have no kernels elsewhere.
void add_of_cpu(const AddCase& add) {
  for (const auto* rule : {"nadamw", "lomo"}) add(rule, {{"rule", rule}});
}

void add_in_fewer_bits(const AddCase& add) {
  add("adamw 8-bit",
      {{"rule", "adamw"},
       {"state", {{"first_moments", "dynamic_8bit"}, {"second_moments", "dynamic_8bit"}}}});
  add("adam_mini 8-bit", {{"rule", "adam_mini"}, {"state", {{"first_moments", "dynamic_8bit"}}}});
}

}  // namespace

BenchGroup optimizer_updates(const BenchSubject& sizes) {
  const auto store = filled_store(layout_of(sizes.parameters), sizes.device);
  const auto streamed = std::min(store->layout().size(), kStreamed);
  BenchGroup group{
      "optimizers",
      {copy_case(streamed, sizes.device), triad_case(streamed, sizes.device), fused_case(store)}};
  const auto add = [&](const std::string& name, const nlohmann::json& fields) {
    group.cases.push_back(update_case(name, store, fields));
  };
  for (const auto* rule : {"adamw", "lion", "sgd_momentum"}) add(rule, {{"rule", rule}});
  for (const auto* partition :
       {"adam_mini", "per_head", "per_row", "per_column", "per_tensor", "factored"}) {
    add(fmt::format("adam_mini {}", partition),
        {{"rule", "adam_mini"}, {"partition", {{"rule", partition}}}});
  }
  add("adamw with clipping", {{"rule", "adamw"}, {"gradient_clip", 1.0}});
  add("adam_mini with clipping", {{"rule", "adam_mini"}, {"gradient_clip", 1.0}});
  if (sizes.device.is_cpu()) add_of_cpu(add);
  if (sizes.device.is_cpu() || has_cuda_number_converter()) add_in_fewer_bits(add);
  for (const auto* rule : {"adamw", "adam_mini"}) add_many_tensors(group, rule, sizes);
  return group;
}

}  // namespace blockwise
