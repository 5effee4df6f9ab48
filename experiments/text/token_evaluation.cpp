#include "experiments/text/token_evaluation.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <set>

#include "core/base/error.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"

namespace blockwise {
namespace {

// Windows first .. first + count - 1 of `length` targets each, from target `begin` on.
Batch windows(const TokenSequence& tokens, std::int64_t begin, std::int64_t count,
              std::int64_t length) {
  const auto options = at::TensorOptions().dtype(at::kLong);
  Batch batch{at::empty({count, length}, options), at::empty({count, length}, options)};
  tokens.copy(begin, count * length, batch.inputs.data_ptr<std::int64_t>());
  tokens.copy_targets(begin + 1, count * length, batch.targets.data_ptr<std::int64_t>());
  return batch;
}

// Sums of -log p(target) over the batch, by position, [length] in double on the CPU; 0 for a target
// that does not count.
at::Tensor losses_by_position(const Model& model, const Batch& batch, at::Device device) {
  ForwardContext context;
  auto scores = model.logits(batch.inputs.to(device), context);
  if (scores.element_size() < 4) scores = scores.to(at::kFloat);
  const auto losses =
      at::cross_entropy_loss(scores.flatten(0, 1), batch.targets.to(device).flatten(), {},
                             at::Reduction::None, kIgnoredTarget);
  return losses.view_as(batch.targets).to(at::kCPU, at::kDouble).sum(0);
}

}  // namespace

double TokenEvaluation::perplexity() const { return std::exp(loss); }

double TokenEvaluation::bits_per_byte(std::int64_t bytes) const {
  return loss * static_cast<double>(targets) / (std::numbers::ln2 * static_cast<double>(bytes));
}

TokenEvaluation evaluate_tokens(const Model& model, const TokenSequence& tokens, at::Device device,
                                const EvaluationOptions& options,
                                const std::function<void(std::int64_t)>& progress) {
  at::NoGradGuard no_grad;
  require_input(tokens.size() >= 2, "{}: {} tokens, at least 2 are needed",
                tokens.files().front().path().string(), tokens.size());
  tokens.check_vocabulary(model.head().weight.size(0));
  const auto length = options.sequence_length;
  const auto all = tokens.size() - 1;
  auto sums = at::zeros({length}, at::kDouble);
  auto counts = at::zeros({length}, at::kLong);
  for (std::int64_t done = 0; done < all;) {
    const auto whole = std::min(options.batch_size, (all - done) / length);
    const auto columns = whole > 0 ? length : all - done;
    const auto rows = std::max<std::int64_t>(1, whole);
    const auto batch = windows(tokens, done, rows, columns);
    sums.narrow(0, 0, columns) += losses_by_position(model, batch, device);
    counts.narrow(0, 0, columns) += batch.targets.ne(kIgnoredTarget).sum(0);
    done += rows * columns;
    progress(done);
  }
  const auto counted = counts.sum().item<std::int64_t>();
  require_input(counted > 0, "{}: the mask beside it leaves no target that counts",
                tokens.files().front().path().string());
  TokenEvaluation result{sums.sum().item<double>() / static_cast<double>(counted), counted, {}};
  const auto positions = std::min(length, all);
  const auto means = sums / counts;  // NaN where no target of a position counts
  result.loss_by_position.assign(means.data_ptr<double>(), means.data_ptr<double>() + positions);
  return result;
}

std::optional<std::int64_t> text_bytes(const std::vector<std::filesystem::path>& token_files) {
  const auto path = token_files.front().parent_path() / "manifest.json";
  if (!input_exists(path)) return std::nullopt;
  std::set<std::string> asked;
  for (const auto& file : token_files) asked.insert(file.filename().string());
  const auto document = read_json_file(path);
  const JsonView manifest(document, path);
  if (!manifest.has("files")) return std::nullopt;
  for (const auto& [name, split] : manifest.at("files").entries()) {
    std::set<std::string> names;
    for (const auto& shard : split.at("shards").items()) names.insert(shard.at("file").text());
    if (names == asked) return split.at("bytes").whole(1);
  }
  return std::nullopt;
}

}  // namespace blockwise
