// Data set `gaussian_classes`: a synthetic classification problem. Class c has a mean drawn from
// N(0, separation^2 / features I); an example is its class's mean plus N(0, I / features) noise.
// The problem is the same for every run and is held in memory; the seed only chooses the order of
// examples.
#include <ATen/ATen.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/data/sampler.hpp"
#include "core/dataset.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kMostNumbers = std::int64_t{1} << 31;  // held in memory, 8 GiB

struct GaussianOptions {
  std::int64_t features = 32;
  std::int64_t classes = 10;
  std::int64_t examples = 4096;
  std::int64_t validation_examples = 1024;
  double separation = 0.3;
};

class GaussianClasses : public Dataset {
 public:
  GaussianClasses(const GaussianOptions& options, std::uint64_t seed)
      : options_(options), order_(stream_seed(seed, RandomStream::data)) {
    constexpr std::uint64_t kProblemSeed = 20240601;
    auto generator = make_generator(kProblemSeed, RandomStream::data);
    const std::int64_t count = options_.examples + options_.validation_examples;
    const double noise = 1.0 / std::sqrt(static_cast<double>(options_.features));
    const auto means = at::empty({options_.classes, options_.features})
                           .normal_(0.0, options_.separation * noise, generator);
    labels_ = at::empty({count}, at::kLong).random_(0, options_.classes, generator);
    inputs_ = at::empty({count, options_.features}).normal_(0.0, noise, generator);
    inputs_.add_(means.index_select(0, labels_));
  }

  DataShape shape() const override {
    return {DataShape::Inputs::vectors, options_.classes, options_.features, 1};
  }

  // Every epoch visits each example once, in another order.
  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    const auto rows = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) rows.data_ptr<std::int64_t>()[i] = row(first + i);
    return {inputs_.index_select(0, rows), labels_.index_select(0, rows)};
  }

  std::int64_t sequential_size() const override { return options_.examples; }

  Batch sequential_examples(std::int64_t first, std::int64_t count) const override {
    return {inputs_.narrow(0, first, count), labels_.narrow(0, first, count)};
  }

  ExamplePlace place(ExampleOrder order, std::int64_t index) const override {
    return {"", order == ExampleOrder::sequential ? index : row(index)};
  }

  std::int64_t validation_size() const override { return options_.validation_examples; }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return {inputs_.narrow(0, options_.examples + first, count),
            labels_.narrow(0, options_.examples + first, count)};
  }

 private:
  // Of the index-th example of the endless sequence.
  std::int64_t row(std::int64_t index) const {
    const auto epoch = static_cast<std::uint64_t>(index / options_.examples);
    const auto key = stream_seed(order_, RandomStream::data, epoch);
    return static_cast<std::int64_t>(permute(key,
                                             static_cast<std::uint64_t>(index % options_.examples),
                                             static_cast<std::uint64_t>(options_.examples)));
  }

  GaussianOptions options_;
  std::uint64_t order_;
  at::Tensor inputs_;
  at::Tensor labels_;
};

class GaussianClassesSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "gaussian_classes"; }
  std::string doc() const override { return "synthetic Gaussian classes, for MLPs and tests"; }

  void visit(FieldVisitor& v) override {
    v.integer({"features", "dimension of an example"}, options_.features, {1, 1 << 20});
    v.integer({"classes", "number of classes"}, options_.classes, {2, 1 << 20});
    v.integer({"examples", "size of the training set"}, options_.examples, {1, 1 << 22});
    v.integer({"validation_examples", "size of the validation set"}, options_.validation_examples,
              {1, 1 << 24});
    v.real({"separation", "norm of a class mean, in standard deviations of the noise's norm"},
           options_.separation, {0.0, 1e6});
    const auto rows = options_.examples + options_.validation_examples + options_.classes;
    v.check("examples", rows <= kMostNumbers / options_.features
                            ? ""
                            : fmt::format("{} examples and classes of {} features are more than {} "
                                          "numbers",
                                          rows, options_.features, kMostNumbers));
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    return std::make_unique<GaussianClasses>(options_, seed);
  }
  DataShape stated_shape() const override {
    return {DataShape::Inputs::vectors, options_.classes, options_.features, 1};
  }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<GaussianClassesSpec>(*this);
  }

 private:
  GaussianOptions options_;
};

}  // namespace

std::unique_ptr<DatasetSpec> make_gaussian_classes() {
  return std::make_unique<GaussianClassesSpec>();
}

}  // namespace blockwise
