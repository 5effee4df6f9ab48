// Data set `markov_tokens`: text that is made up. The next token depends on the two before it, by a
// table of probabilities p(c | a, b) that is the same for every run: softmax of N(0, sharpness^2)
// numbers. The best possible loss is the entropy rate of the table, so what is left of it is known.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/data/sampler.hpp"
#include "core/dataset.hpp"

namespace blockwise {
namespace {

struct MarkovOptions {
  std::int64_t vocab_size = 8;
  std::int64_t sequence_length = 32;
  std::int64_t tokens = 65536;
  std::int64_t validation_tokens = 8192;
  double sharpness = 2.0;
};

constexpr std::uint64_t kProblemSeed = 20240602;

class MarkovTokens : public Dataset {
 public:
  MarkovTokens(const MarkovOptions& options, std::uint64_t seed)
      : options_(options), sampler_(seed, options.tokens, options.sequence_length) {
    const auto v = options_.vocab_size;
    auto generator = make_generator(kProblemSeed, RandomStream::data);
    const auto logits = at::randn({v * v, v}, generator, at::kDouble).mul_(options_.sharpness);
    const auto cumulative = at::softmax(logits, 1).cumsum(1).contiguous();
    auto text = at::empty({options_.tokens + options_.validation_tokens}, at::kLong);
    write(text.data_ptr<std::int64_t>(), text.numel(), cumulative.data_ptr<double>());
    train_ = text.narrow(0, 0, options_.tokens);
    validation_ = text.narrow(0, options_.tokens, options_.validation_tokens);
  }

  DataShape shape() const override {
    return {DataShape::Inputs::tokens, options_.vocab_size, 0, options_.sequence_length};
  }

  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    return windows(train_, count, [&](std::int64_t i) { return sampler_.position(first + i); });
  }

  std::int64_t sequential_size() const override {
    return (options_.tokens - 1) / options_.sequence_length;
  }

  Batch sequential_examples(std::int64_t first, std::int64_t count) const override {
    return windows(train_, count,
                   [&](std::int64_t i) { return (first + i) * options_.sequence_length; });
  }

  ExamplePlace place(ExampleOrder order, std::int64_t index) const override {
    const bool sequential = order == ExampleOrder::sequential;
    return {"", sequential ? index * options_.sequence_length : sampler_.position(index)};
  }

  std::int64_t validation_size() const override {
    return (options_.validation_tokens - 1) / options_.sequence_length;
  }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return windows(validation_, count,
                   [&](std::int64_t i) { return (first + i) * options_.sequence_length; });
  }

 private:
  void write(std::int64_t* text, std::int64_t count, const double* cumulative) const {
    const auto v = options_.vocab_size;
    const auto stream = stream_seed(kProblemSeed, RandomStream::data, 1);
    std::int64_t row = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto draw = uniform_index(stream, static_cast<std::uint64_t>(i), 1ULL << 32);
      const double u = static_cast<double>(draw) / double(1ULL << 32);
      const double* p = cumulative + row * v;
      const auto token = std::min<std::int64_t>(v - 1, std::lower_bound(p, p + v, u) - p);
      text[i] = token;
      row = (row * v + token) % (v * v);
    }
  }

  template <typename Position>
  Batch windows(const at::Tensor& text, std::int64_t count, const Position& position) const {
    std::vector<at::Tensor> inputs, targets;
    for (std::int64_t i = 0; i < count; ++i) {
      inputs.push_back(text.narrow(0, position(i), options_.sequence_length));
      targets.push_back(text.narrow(0, position(i) + 1, options_.sequence_length));
    }
    return {at::stack(inputs), at::stack(targets)};
  }

  MarkovOptions options_;
  WindowSampler sampler_;
  at::Tensor train_, validation_;
};

class MarkovTokensSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "markov_tokens"; }
  std::string doc() const override {
    return "synthetic second-order Markov text, for small truths";
  }

  void visit(FieldVisitor& v) override {
    v.integer({"vocab_size", "number of tokens"}, options_.vocab_size, {2, 256});
    v.integer({"sequence_length", "tokens per example"}, options_.sequence_length, {1, 1 << 16});
    v.integer({"tokens", "length of the training text"}, options_.tokens, {3, 1 << 26});
    v.integer({"validation_tokens", "length of the validation text"}, options_.validation_tokens,
              {2, 1 << 24});
    v.real({"sharpness", "standard deviation of the table's logits; 0: every token is as likely"},
           options_.sharpness, {0.0, 100.0});
    v.check("tokens", options_.tokens > options_.sequence_length
                          ? ""
                          : fmt::format("{} are less than a window of {} and a target",
                                        options_.tokens, options_.sequence_length));
    v.check("validation_tokens",
            options_.validation_tokens > options_.sequence_length
                ? ""
                : fmt::format("{} are less than a window of {} and a target",
                              options_.validation_tokens, options_.sequence_length));
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    return std::make_unique<MarkovTokens>(options_, seed);
  }
  DataShape stated_shape() const override {
    return {DataShape::Inputs::tokens, options_.vocab_size, 0, options_.sequence_length};
  }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<MarkovTokensSpec>(*this);
  }

 private:
  MarkovOptions options_;
};

}  // namespace

std::unique_ptr<DatasetSpec> make_markov_tokens() { return std::make_unique<MarkovTokensSpec>(); }

}  // namespace blockwise
