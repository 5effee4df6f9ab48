#include "experiments/training/memory_plan.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/memory/meta_memory.hpp"
#include "core/parameters/gradient_release.hpp"
#include "core/sampled_labels.hpp"
#include "experiments/config/run_data.hpp"

namespace blockwise {
namespace {

Batch meta_batch(const DataShape& shape, std::int64_t examples) {
  const auto whole = at::TensorOptions().dtype(at::kLong).device(at::kMeta);
  if (shape.inputs == DataShape::Inputs::tokens) {
    const std::vector<std::int64_t> sizes = {examples, shape.sequence_length};
    return {at::empty(sizes, whole), at::empty(sizes, whole)};
  }
  return {at::empty({examples, shape.features}, whole.dtype(at::kFloat)),
          at::empty({examples}, whole)};
}

// Updates, for what they need beside weights, gradients and state. Rules that cannot be rehearsed
// are named.
class UpdateRehearsal {
 public:
  UpdateRehearsal(Optimizer& optimizer, at::DeviceType device)
      : optimizer_(optimizer), device_(device) {
    optimizer_.rehearse_first(device);
  }

  void update(std::size_t parameter, const at::Tensor& gradient) {
    const auto& rule = optimizer_.rules().of(parameter).name;
    if (unknown_.contains(rule)) return;
    try {
      optimizer_.rehearse_update(parameter, gradient, device_);
    } catch (const c10::Error&) {
      unknown_.insert(rule);
    }
  }
  void update_all(const ParameterStore& store) {
    for (std::size_t i = 0; i < store.tensors().size(); ++i) update(i, store.gradient(i));
  }
  std::string note() const {
    if (unknown_.empty()) return "";
    return fmt::format("what updates by {} need for a moment is not counted",
                       fmt::join(unknown_, ", "));
  }

 private:
  Optimizer& optimizer_;
  at::DeviceType device_;
  std::set<std::string> unknown_;
};

// One micro-batch forward and backward as the trainer does it, and of gradients that are released
// the updates.
void run_pass(const TrainerConfig& trainer, const DataShape& shape, const Model& model,
              const ParameterStore& store, UpdateRehearsal& updates) {
  const auto batch = meta_batch(shape, trainer.micro_batch_size);
  auto context = trainer.forward_context();
  context.dropout = make_generator(0, RandomStream::dropout);
  std::optional<GradientRelease> release;
  const auto update = [&](std::size_t i, const at::Tensor& g) { updates.update(i, g); };
  if (store.releases_gradients()) release.emplace(store, update);
  backward(model.loss(batch, context));
}

// What follows: the updates, and an evaluation's forward pass.
void run_rest(const TrainerConfig& trainer, const DataShape& shape, const Model& model,
              const ParameterStore& store, UpdateRehearsal& updates) {
  if (!store.releases_gradients()) updates.update_all(store);
  const at::NoGradGuard no_grad;
  auto evaluation = trainer.forward_context();
  model.loss(meta_batch(shape, trainer.micro_batch_size), evaluation);
}

// Bytes at the peak of a step with what stays allocated all along. What a recorded pass takes stays
// taken.
std::int64_t step_peak(const TrainerConfig& trainer, const DataShape& shape, const Model& model,
                       const ParameterStore& store, UpdateRehearsal& updates, MetaMemory& memory) {
  const auto before = memory.allocated();
  memory.reset_peak();
  run_pass(trainer, shape, model, store, updates);
  const auto of_pass = memory.peak();
  memory.reset_peak();
  run_rest(trainer, shape, model, store, updates);
  const auto of_rest = memory.peak();
  return trainer.cuda_graph ? of_pass + of_rest - before : std::max(of_pass, of_rest);
}

// Rows x columns of everything that multiplies activations, and the width of all query heads.
double multiplying_parameters(const ParameterLayout& layout) {
  double total = 0.0;
  for (const auto& parameter : layout.parameters()) {
    const bool table = parameter.role == ParameterRole::token_embedding ||
                       parameter.role == ParameterRole::position_embedding;
    const bool used_as_head = !parameter.tied_names.empty();
    if (parameter.is_matrix() && (!table || used_as_head))
      total += static_cast<double>(parameter.size());
  }
  return total;
}

double query_width(const ParameterLayout& layout) {
  double total = 0.0;
  for (const auto& parameter : layout.parameters()) {
    if (parameter.role == ParameterRole::query && parameter.is_matrix())
      total += double(parameter.rows());
    for (const auto& section : parameter.sections) {
      if (section.role == ParameterRole::query) total += double(section.rows);
    }
  }
  return total;
}

// Of the roles that the model has, in the order of the enum.
std::vector<std::pair<std::string, double>> role_factors(const RateConfig& rates,
                                                         const Partition& partition) {
  std::set<ParameterRole> roles;
  for (const auto& tensor : partition.tensors()) {
    for (const auto& section : tensor.sections) roles.insert(section.role);
  }
  std::vector<std::pair<std::string, double>> factors;
  if (!rates.is_by_role()) return factors;
  for (const auto role : roles) factors.emplace_back(role_name(role), rates.factor(role));
  return factors;
}

// The threads of the run, for scratch that each of them takes; LibTorch's own number again after.
class PlannedThreads {
 public:
  explicit PlannedThreads(std::int64_t threads) : before_(at::get_num_threads()) {
    if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  }
  ~PlannedThreads() { at::set_num_threads(before_); }
  PlannedThreads(const PlannedThreads&) = delete;
  PlannedThreads& operator=(const PlannedThreads&) = delete;

 private:
  int before_;
};

// Of sums of micro-batches beside the gradient buffer, in a run of one process.
std::int64_t sum_bytes(const RunConfig& config, const DataShape& shape,
                       const ParameterStore& store) {
  const auto one =
      config.trainer.micro_batch_size * std::max<std::int64_t>(1, shape.sequence_length);
  const auto count = std::max<std::int64_t>(1, config.trainer.global_batch_tokens / one);
  return further_buffers(config.parallel.order(), count) * store.gradient_bytes();
}

std::vector<std::int64_t> layer_bytes(const ParameterStore& store, std::int64_t layers) {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(layers), 0);
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto layer = store.layout().parameters()[i].layer;
    if (layer < 0 || layer >= layers) continue;
    bytes[std::size_t(layer)] += static_cast<std::int64_t>(store.tensors()[i].nbytes());
  }
  return bytes;
}

// Of one parameter: what its master is kept in, read and written, and the copy that it has.
std::int64_t moved_weight_bytes(const ParameterStore& store, std::size_t i) {
  const auto computed = static_cast<std::int64_t>(store.tensors()[i].nbytes());
  if (const auto* split = store.split(i)) {
    return 2 * (computed + static_cast<std::int64_t>(
                               split->residual.defined() ? split->residual.nbytes() : 0));
  }
  const auto master = 4 * store.layout().parameters()[i].size();
  return 2 * master + (computed == master ? 0 : computed);
}

std::int64_t step_bytes(const ParameterStore& store, std::int64_t state_bytes) {
  auto bytes = 2 * 4 * store.layout().size() + 2 * state_bytes;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) bytes += moved_weight_bytes(store, i);
  return bytes;
}

std::int64_t devices(std::int64_t fixed, std::int64_t sharded, std::int64_t device_bytes) {
  const auto room = device_bytes - fixed;
  if (room <= 0) return 0;
  return std::max<std::int64_t>(1, (sharded + room - 1) / room);
}

}  // namespace

std::int64_t MemoryPlan::optimizer_bytes() const {
  return std::accumulate(optimizer.begin(), optimizer.end(), std::int64_t{0},
                         [](auto sum, const auto& kind) { return sum + kind.second; });
}

std::vector<std::pair<std::string, std::int64_t>> optimizer_bytes_by_kind(
    const Optimizer& optimizer, const ParameterStore& store) {
  auto kinds = optimizer.state().bytes();
  if (optimizer.state().is_bounded()) {
    kinds = {{"resident_state", optimizer.state().resident_bytes()}};
  }
  if (store.master_bytes() > 0) kinds.emplace_back("master_weights", store.master_bytes());
  return kinds;
}

void require_labels(const RunConfig& config, const Model& model, const Optimizer& optimizer) {
  require_input(has_labels(model) || !optimizer.wants_curvature(),
                "optimizer.rule '{}' learns the curvature from labels that the model samples, and "
                "the loss of model.family '{}' has no labels",
                config.optimizer.rule, config.model.spec->family());
}

MemoryPlan plan_memory(RunConfig config) {
  const auto shape = adapt_to_stated_data(config);
  const auto layout = config.model.spec->layout();
  const auto& trainer = config.trainer;
  const PlannedThreads threads(trainer.threads);
  MetaMemory memory;
  ParameterStore store(layout, at::kMeta, at::kFloat, trainer.mixed_precision(),
                       trainer.gradient_storage());
  const auto model = config.model.spec->build(store);
  Optimizer optimizer(config.optimizer, store);
  require_labels(config, *model, optimizer);
  MemoryPlan plan;
  plan.parameters = layout.size();
  plan.parameter_bytes = store.compute_bytes();
  plan.layer_bytes = layer_bytes(store, config.model.spec->separate_layers());
  plan.gradient_bytes = store.gradient_bytes();
  plan.master_bytes = store.master_bytes();
  plan.optimizer = optimizer_bytes_by_kind(optimizer, store);
  plan.rules = rule_shares(optimizer.rules(), layout);
  plan.role_factors = role_factors(config.optimizer.rates, optimizer.partition());
  plan.peak_bytes_without_checkpointing = plan.peak_bytes_with_checkpointing = memory.allocated();
  UpdateRehearsal updates(optimizer, trainer.runs_on_cpu() ? at::kCPU : at::kCUDA);
  plan.note = rehearse([&] {
    auto without = trainer, with = trainer;
    without.activation_checkpointing = false;
    with.activation_checkpointing = true;
    plan.peak_bytes_without_checkpointing =
        step_peak(without, shape, *model, store, updates, memory);
    plan.peak_bytes_with_checkpointing = step_peak(with, shape, *model, store, updates, memory);
  });
  plan.updates_note = updates.note();
  const auto sums = sum_bytes(config, shape, store);
  plan.gradient_bytes += sums;
  plan.peak_bytes_without_checkpointing += sums;
  plan.peak_bytes_with_checkpointing += sums;
  // What is in a file was counted as if it were in memory.
  std::int64_t state_bytes = 0;
  for (const auto& [kind, bytes] : optimizer.state().bytes()) state_bytes += bytes;
  const auto away = state_bytes - optimizer.state().resident_bytes() + store.paged_master_bytes();
  plan.peak_bytes_without_checkpointing -= away;
  plan.peak_bytes_with_checkpointing -= away;
  plan.peak_bytes = trainer.activation_checkpointing ? plan.peak_bytes_with_checkpointing
                                                     : plan.peak_bytes_without_checkpointing;
  plan.activation_bytes =
      plan.peak_bytes - plan.parameter_bytes - plan.gradient_bytes - plan.optimizer_bytes();
  plan.checkpoint_bytes = 4 * layout.size() + state_bytes;
  plan.step_bytes = step_bytes(store, state_bytes);
  plan.flops_per_token = 6.0 * multiplying_parameters(layout) +
                         12.0 * double(shape.sequence_length) * query_width(layout);
  return plan;
}

std::int64_t devices_state_sharded(const MemoryPlan& plan, std::int64_t device_bytes) {
  const auto state = plan.optimizer_bytes();
  return devices(plan.peak_bytes - state, state, device_bytes);
}

std::int64_t devices_all_sharded(const MemoryPlan& plan, std::int64_t device_bytes) {
  return devices(plan.activation_bytes, plan.peak_bytes - plan.activation_bytes, device_bytes);
}

}  // namespace blockwise
