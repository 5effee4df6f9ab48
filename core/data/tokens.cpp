// Data set `tokens`: a training and a validation token file, cut into windows.
#include <ATen/ATen.h>

#include <optional>

#include "core/data/sampler.hpp"
#include "core/data/token_file.hpp"
#include "core/dataset.hpp"
#include "core/error.hpp"

namespace blockwise {
namespace {

struct TokenOptions {
  std::string train;
  std::string validation;
  std::int64_t sequence_length = 128;
  std::int64_t validation_tokens = 0;
  std::int64_t vocab_size = 0;
};

void require_file(const std::string& path) {
  require_input(
      std::filesystem::exists(path),
      "{}: there is no such token file. `make corpus` prepares the default corpus; `blockwise "
      "data --train TEXT --validation TEXT --output DIR` makes token files of any text",
      path);
}

class TokenDataset : public Dataset {
 public:
  TokenDataset(const TokenOptions& options, std::uint64_t seed)
      : train_(options.train),
        validation_(options.validation),
        length_(options.sequence_length),
        vocab_size_(options.vocab_size != 0 ? options.vocab_size
                                            : read_token_manifest(options.train).vocab_size),
        sampler_(seed, static_cast<std::int64_t>(train_.tokens().size()), length_) {
    train_.check_vocabulary(vocab_size_);
    validation_.check_vocabulary(vocab_size_);
    const auto all = (static_cast<std::int64_t>(validation_.tokens().size()) - 1) / length_;
    validation_size_ = options.validation_tokens == 0
                           ? all
                           : std::min(all, (options.validation_tokens + length_ - 1) / length_);
    require_input(validation_size_ >= 1,
                  "{}: {} tokens are fewer than one sequence of {} and its last target",
                  validation_.path().string(), validation_.tokens().size(), length_);
  }

  DataShape shape() const override { return {DataShape::Inputs::tokens, vocab_size_, 0, length_}; }

  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    return windows(train_, count, [&](std::int64_t i) { return sampler_.position(first + i); });
  }

  std::int64_t validation_size() const override { return validation_size_; }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return windows(validation_, count, [&](std::int64_t i) { return (first + i) * length_; });
  }

 private:
  template <typename Position>
  Batch windows(const TokenFile& file, std::int64_t count, Position position) const {
    const auto options = at::TensorOptions().dtype(at::kLong);
    Batch batch{at::empty({count, length_}, options), at::empty({count, length_}, options)};
    auto* inputs = batch.inputs.data_ptr<std::int64_t>();
    auto* targets = batch.targets.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto* tokens = file.tokens().data() + position(i);
      std::copy(tokens, tokens + length_, inputs + i * length_);
      std::copy(tokens + 1, tokens + 1 + length_, targets + i * length_);
    }
    return batch;
  }

  TokenFile train_;
  TokenFile validation_;
  std::int64_t length_;
  std::int64_t vocab_size_;
  WindowSampler sampler_;
  std::int64_t validation_size_ = 0;
};

class TokenDatasetSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "tokens"; }
  std::string doc() const override { return "token files made by `blockwise data`"; }

  void visit(FieldVisitor& v) override {
    v.text({"train", "token file to train on", true}, o_.train);
    v.text({"validation", "token file to evaluate on", true}, o_.validation);
    v.integer({"sequence_length", "tokens per example"}, o_.sequence_length, {1, 1 << 20});
    v.integer(
        {"validation_tokens", "tokens of each evaluation, the file's first ones; 0 means all"},
        o_.validation_tokens, {0, std::int64_t{1} << 40});
    v.integer({"vocab_size", "0 takes it from manifest.json beside the training file"},
              o_.vocab_size, {0, 65536});
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    require_file(o_.train);
    require_file(o_.validation);
    return std::make_unique<TokenDataset>(o_, seed);
  }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<TokenDatasetSpec>(*this);
  }

 private:
  TokenOptions o_;
};

}  // namespace

std::unique_ptr<DatasetSpec> make_token_dataset() { return std::make_unique<TokenDatasetSpec>(); }

}  // namespace blockwise
