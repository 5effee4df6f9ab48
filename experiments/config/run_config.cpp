#include "experiments/config/run_config.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/memory/device.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/config/visit_section.hpp"

namespace blockwise {
namespace {

// Targets of the largest micro-batch. Beyond any machine; times a width it is still no overflow.
constexpr std::int64_t kMostBatchTokens = std::int64_t{1} << 30;

}  // namespace

void DataConfig::visit(FieldVisitor& v) {
  v.choice({"kind", "kind of data set"}, kind, dataset_kinds().names());
  if (!spec || spec->kind() != kind) spec = dataset_kinds().make(kind);
  spec->visit(v);
}

// With `from`, the sizes of that model are the defaults of the fields that follow.
void ModelConfig::visit(FieldVisitor& v) {
  v.text(
      {"from", "model to start from: a Hugging Face folder, a run, a checkpoint, a file of llm.c"},
      from);
  if (!from.empty() && !spec) {
    spec = open_model(from).spec;
    family = spec->family();
  }
  v.choice({"family", "kind of model", from.empty()}, family, model_families().names());
  if (!spec || (from.empty() && spec->family() != family)) spec = model_families().make(family);
  v.check("family", spec->family() == family
                        ? ""
                        : fmt::format("'{}', but {} is a {}", family, from, spec->family()));
  spec->visit(v);
}

namespace {

constexpr IntegerBounds kSteps = {0, std::int64_t{1} << 40};

void visit_length(FieldVisitor& v, TrainerConfig& c) {
  v.integer({"steps", "optimizer steps", true}, c.steps, {1, std::int64_t{1} << 40});
  v.integer({"micro_batch_size", "examples per forward pass"}, c.micro_batch_size, {1, 1 << 20});
  v.integer(
      {"global_batch_tokens",
       "targets per optimizer step, a multiple of micro_batch_size x sequence_length; the rest "
       "is gradient accumulation; 0 means one micro-batch"},
      c.global_batch_tokens, kSteps);
  v.integer(
      {"overfit_batches",
       "train on the first so many batches of the run's order again and again (1: one fixed batch, "
       "whose loss a model that works drives to almost 0); 0: on all data"},
      c.overfit_batches, kSteps);
}

void visit_intervals(FieldVisitor& v, TrainerConfig& c) {
  v.integer({"evaluate_every", "steps between evaluations; 0 means at the end only"},
            c.evaluate_every, kSteps);
  v.integer({"checkpoint_every", "steps between checkpoints; 0 means when stopped only"},
            c.checkpoint_every, kSteps);
  v.integer({"keep_checkpoints", "newest checkpoints kept"}, c.keep_checkpoints, {1, 1000});
  v.boolean({"keep_best",
             "keep the checkpoint of the lowest validation loss, too, as checkpoints/best; every "
             "evaluation that is the lowest so far makes one"},
            c.keep_best);
  v.integer(
      {"keep_every", "steps between checkpoints that are made and kept for good; 0 means none"},
      c.keep_every, kSteps);
  v.integer({"norms_every",
             "steps between records of the norms of every tensor's gradient, update and weights; "
             "each reads gradients and parameters once; 0 means none"},
            c.norms_every, kSteps);
}

void visit_computation(FieldVisitor& v, TrainerConfig& c) {
  v.choice({"precision",
            "fp32; bf16: bfloat16 weights and activations, float32 masters and gradients; "
            "bf16_autocast: float32 weights, bfloat16 products"},
           c.precision, {"fp32", "bf16", "bf16_autocast"});
  v.choice({"master_weights",
            "bf16: fp32, or beside each bfloat16 weight lossless_16bit: 2 bytes, all bits; "
            "residual_8bit: 1 byte, 16 bits of mantissa; kahan: 2 bytes, a compensation; "
            "stochastic, none: nothing, rounded at random or to the nearest"},
           c.master_weights, master_weights_names());
  v.check("master_weights",
          c.master_weights == "fp32" || c.precision == "bf16"
              ? ""
              : fmt::format("is {}, which is for precision bf16", c.master_weights));
  v.integer(
      {"master_resident_mb",
       "MiB in memory at most of what master_weights keeps beside the weights, the rest is in "
       "a file and read ahead; 0: all of it is in memory"},
      c.master_resident_mb, {0, std::int64_t{1} << 30});
  v.text({"master_folder", "of that file, on a disk; empty: the run's"}, c.master_folder);
  v.choice_list({"float32_roles", "bf16: roles whose tensors stay float32"}, c.float32_roles,
                role_names());
  v.text_list({"float32_tensors", "bf16: names of further tensors that stay float32"},
              c.float32_tensors);
  v.boolean({"activation_checkpointing",
             "keep each layer's input only and compute the layer again in the backward pass"},
            c.activation_checkpointing);
  v.integer({"loss_chunk_tokens", "logits held at a time, in tokens; 0 means a whole micro-batch"},
            c.loss_chunk_tokens, {0, 1 << 30});
  v.choice(
      {"gradients",
       "kept: all at once, micro-batches added up; released: each tensor is updated inside the "
       "backward pass and its gradient freed; clipping by norm then takes a second backward "
       "pass"},
      c.gradients, {"kept", "released"});
  v.boolean({"cuda_graph",
             "CUDA: record the passes of a micro-batch after the first three, and launch them as "
             "one; for small models, whose launches take longer than their work"},
            c.cuda_graph);
  v.check("gradients", c.gradients == "kept" || c.norms_every == 0
                           ? ""
                           : "released leaves none for norms_every to measure");
}

}  // namespace

void TrainerConfig::visit(FieldVisitor& v) {
  visit_length(v, *this);
  visit_intervals(v, *this);
  v.real({"divergence_loss",
          "a training loss above this ends the run as diverged, in nats; 0: divergence_factor says "
          "which"},
         divergence_loss, {0.0, 1e12});
  v.real({"divergence_factor",
          "a training loss above this many times the larger of the first step's loss and "
          "log(classes) ends the run as diverged; 0: only a non-finite one"},
         divergence_factor, {0.0, 1e12});
  visit_computation(v, *this);
  v.choice({"device", "where to compute"}, device, {"auto", "cpu", "cuda"});
  v.integer({"threads", "CPU threads; 0 means OMP_NUM_THREADS, or else all cores"}, threads,
            {0, 4096});
}

std::optional<MixedPrecision> TrainerConfig::mixed_precision() const {
  if (precision != "bf16") return std::nullopt;
  MixedPrecision mixed;
  mixed.keep_tensors = float32_tensors;
  mixed.masters = master_weights_from_name(master_weights);
  mixed.paging = {master_resident_mb << 20, master_folder};
  mixed.flat_copies = mixed.masters == MasterWeights::fp32 && !runs_on_cpu();
  for (const auto& role : float32_roles) mixed.keep.push_back(role_from_name(role));
  return mixed;
}

ForwardContext TrainerConfig::forward_context() const {
  ForwardContext context;
  context.checkpoint_layers = activation_checkpointing;
  context.loss_chunk_rows = loss_chunk_tokens;
  context.autocast = precision == "bf16_autocast";
  context.cpu_kernels = runs_on_cpu();
  return context;
}

bool TrainerConfig::runs_on_cpu() const {
  return device == "cpu" || (device == "auto" && resolve_device(device).is_cpu());
}

std::string output_problem(const std::string& output) {
  if (printable(output) == output) return "";
  return fmt::format(
      "'{}': a folder's path cannot hold control characters or bytes that are no UTF-8",
      printable(output));
}

std::string output_of(const std::string& option, const std::string& otherwise) {
  const auto problem = output_problem(option);
  require_input(problem.empty(), "--output {}", problem);
  return option.empty() ? otherwise : option;
}

void RunConfig::visit(FieldVisitor& v) {
  v.text({"name", "of the run, or of the sweep", true}, name);
  v.text({"output", "folder of the run; empty means runs/<name>"}, output);
  v.integer({"seed", "of initial parameters, data order and dropout"}, seed,
            {0, std::numeric_limits<std::int64_t>::max()});
  visit_section(v, {"data", "what to train on", true}, data);
  visit_section(v, {"model", "what to train", true}, model);
  visit_section(v, {"optimizer", "how to train", true}, optimizer);
  visit_section(v, {"schedule", "of the learning rate"}, schedule);
  visit_section(v, {"trainer", "steps, batches, evaluation, checkpoints", true}, trainer);
  visit_section(v, {"parallel", "several processes that make one run together"}, parallel);
  visit_section(v, {"hessian", "curvature: of `spectrum`, and every k steps of a run"}, hessian);
  visit_section(v, {"discovery", "of `partition`: what it looks for"}, discovery);
  visit_section(v, {"search_lr", "of `search-lr`: which rates it looks for, and how"}, search_lr);
  v.check("name", name_problem(name));
  v.check("output", output_problem(output));
  v.check("schedule.warmup_steps",
          schedule.warmup_steps <= trainer.steps
              ? ""
              : fmt::format("{} is above trainer.steps {}", schedule.warmup_steps, trainer.steps));
  v.check("schedule.steps",
          schedule.steps == 0 || schedule.steps >= trainer.steps
              ? ""
              : fmt::format("{} is below trainer.steps {}", schedule.steps, trainer.steps));
  const auto length = std::max<std::int64_t>(1, data.spec->stated_shape().sequence_length);
  v.check("trainer.micro_batch_size",
          trainer.micro_batch_size <= kMostBatchTokens / length
              ? ""
              : fmt::format("{} x data.sequence_length {} is above {} tokens",
                            trainer.micro_batch_size, length, kMostBatchTokens));
  if (output.empty()) output = "runs/" + name;
}

}  // namespace blockwise
