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
      : o_(options), order_(stream_seed(seed, RandomStream::data)) {
    constexpr std::uint64_t kProblemSeed = 20240601;
    auto generator = make_generator(kProblemSeed, RandomStream::data);
    const std::int64_t count = o_.examples + o_.validation_examples;
    const double noise = 1.0 / std::sqrt(static_cast<double>(o_.features));
    const auto means =
        at::empty({o_.classes, o_.features}).normal_(0.0, o_.separation * noise, generator);
    labels_ = at::empty({count}, at::kLong).random_(0, o_.classes, generator);
    inputs_ = at::empty({count, o_.features}).normal_(0.0, noise, generator);
    inputs_.add_(means.index_select(0, labels_));
  }

  DataShape shape() const override {
    return {DataShape::Inputs::vectors, o_.classes, o_.features, 1};
  }

  // Every epoch visits each example once, in another order.
  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    const auto rows = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) rows.data_ptr<std::int64_t>()[i] = row(first + i);
    return {inputs_.index_select(0, rows), labels_.index_select(0, rows)};
  }

  std::int64_t sequential_size() const override { return o_.examples; }

  Batch sequential_examples(std::int64_t first, std::int64_t count) const override {
    return {inputs_.narrow(0, first, count), labels_.narrow(0, first, count)};
  }

  ExamplePlace place(ExampleOrder order, std::int64_t index) const override {
    return {"", order == ExampleOrder::sequential ? index : row(index)};
  }

  std::int64_t validation_size() const override { return o_.validation_examples; }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return {inputs_.narrow(0, o_.examples + first, count),
            labels_.narrow(0, o_.examples + first, count)};
  }

 private:
  // Of the index-th example of the endless sequence.
  std::int64_t row(std::int64_t index) const {
    const auto epoch = static_cast<std::uint64_t>(index / o_.examples);
    const auto key = stream_seed(order_, RandomStream::data, epoch);
    return static_cast<std::int64_t>(permute(key, static_cast<std::uint64_t>(index % o_.examples),
                                             static_cast<std::uint64_t>(o_.examples)));
  }

  GaussianOptions o_;
  std::uint64_t order_;
  at::Tensor inputs_;
  at::Tensor labels_;
};

class GaussianClassesSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "gaussian_classes"; }
  std::string doc() const override { return "synthetic Gaussian classes, for MLPs and tests"; }

  void visit(FieldVisitor& v) override {
    v.integer({"features", "dimension of an example"}, o_.features, {1, 1 << 20});
    v.integer({"classes", "number of classes"}, o_.classes, {2, 1 << 20});
    v.integer({"examples", "size of the training set"}, o_.examples, {1, 1 << 22});
    v.integer({"validation_examples", "size of the validation set"}, o_.validation_examples,
              {1, 1 << 24});
    v.real({"separation", "norm of a class mean, in standard deviations of the noise's norm"},
           o_.separation, {0.0, 1e6});
    const auto rows = o_.examples + o_.validation_examples + o_.classes;
    v.check("examples", rows <= kMostNumbers / o_.features
                            ? ""
                            : fmt::format("{} examples and classes of {} features are more than {} "
                                          "numbers",
                                          rows, o_.features, kMostNumbers));
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    return std::make_unique<GaussianClasses>(o_, seed);
  }
  DataShape stated_shape() const override {
    return {DataShape::Inputs::vectors, o_.classes, o_.features, 1};
  }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<GaussianClassesSpec>(*this);
  }

 private:
  GaussianOptions o_;
};

}  // namespace

std::unique_ptr<DatasetSpec> make_gaussian_classes() {
  return std::make_unique<GaussianClassesSpec>();
}

}  // namespace blockwise
