#include "experiments/config/config_keys.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace blockwise {
namespace {

// Of micro_batch_size and what follows it the order of sums (and the draws of dropout) depend, as
// they do on threads; of what is summed nothing does.
constexpr std::array<std::string_view, 28> kFree = {"name",
                                                    "output",
                                                    "trainer.evaluate_every",
                                                    "trainer.checkpoint_every",
                                                    "trainer.keep_checkpoints",
                                                    "trainer.keep_best",
                                                    "trainer.keep_every",
                                                    "trainer.norms_every",
                                                    "trainer.divergence_loss",
                                                    "trainer.divergence_factor",
                                                    "trainer.device",
                                                    "trainer.threads",
                                                    "trainer.micro_batch_size",
                                                    "trainer.activation_checkpointing",
                                                    "trainer.loss_chunk_tokens",
                                                    "trainer.cuda_graph",
                                                    "parallel.shard",
                                                    "parallel.gradient_sum",
                                                    "parallel.bucket_mb",
                                                    "parallel.timeout_seconds",
                                                    "trainer.master_resident_mb",
                                                    "trainer.master_folder",
                                                    "optimizer.state.resident_mb",
                                                    "optimizer.state.folder",
                                                    "hessian.every",
                                                    "hessian.at_steps",
                                                    "hessian.vectors_in",
                                                    "hessian.lanczos.save_every"};
constexpr std::array<std::string_view, 2> kLength = {"trainer.steps", "schedule.steps"};
constexpr std::array<std::string_view, 7> kContent = {
    "data.train",       "data.validation",          "data.validations",
    "data.test",        "optimizer.partition.file", "optimizer.block_lr",
    "optimizer.weights"};
// Sections of other commands: of `partition` and of `search-lr`.
constexpr std::array<std::string_view, 2> kOtherCommands = {"discovery.", "search_lr."};

bool holds(const auto& list, std::string_view path) { return std::ranges::count(list, path) > 0; }

}  // namespace

KeyKind key_kind(std::string_view path) {
  if (holds(kFree, path)) return KeyKind::free;
  if (holds(kLength, path)) return KeyKind::length;
  if (holds(kContent, path)) return KeyKind::content;
  const bool other = std::ranges::any_of(
      kOtherCommands, [&](std::string_view section) { return path.starts_with(section); });
  if (other) return KeyKind::free;
  return path.starts_with("hessian.") ? KeyKind::curvature : KeyKind::defining;
}

}  // namespace blockwise
