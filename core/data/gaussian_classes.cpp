// Data set `gaussian_classes`: a synthetic classification problem with a known best answer. Class c
// has a mean drawn once from N(0, separation^2 / features I); an example is its class's mean plus
// N(0, I / features) noise. Example i is a pure function of (seed, i); the validation examples are
// a fixed set from another stream position.
#include <ATen/ATen.h>

#include <cmath>

#include "core/dataset.hpp"
#include "core/error.hpp"
#include "core/random_stream.hpp"

namespace blockwise {
namespace {

struct GaussianOptions {
  std::int64_t features = 32;
  std::int64_t classes = 10;
  std::int64_t examples = 4096;
  std::int64_t validation_examples = 1024;
  double separation = 0.3;
};

class GaussianClasses : public Dataset {
 public:
  GaussianClasses(const GaussianOptions& options, std::uint64_t seed) : o_(options), seed_(seed) {
    auto generator = make_generator(kProblemSeed, RandomStream::data);
    const double scale = o_.separation / std::sqrt(static_cast<double>(o_.features));
    means_ = at::empty({o_.classes, o_.features}).normal_(0.0, scale, generator);
  }

  DataShape shape() const override {
    return {DataShape::Inputs::vectors, o_.classes, o_.features, 1};
  }

  Batch training_examples(std::int64_t first, std::int64_t count) const override {
    return draw(count, [&](std::int64_t i) {
      return uniform_index(stream_seed(seed_, RandomStream::data, 7), first + i, o_.examples);
    });
  }

  std::int64_t validation_size() const override { return o_.validation_examples; }

  Batch validation_examples(std::int64_t first, std::int64_t count) const override {
    return draw(count, [&](std::int64_t i) { return o_.examples + first + i; });
  }

 private:
  // The problem (means and examples) is the same for every run; the seed only chooses the order.
  static constexpr std::uint64_t kProblemSeed = 20240601;

  template <typename Index>
  Batch draw(std::int64_t count, Index index) const {
    Batch batch{at::empty({count, o_.features}), at::empty({count}, at::kLong)};
    const double noise = 1.0 / std::sqrt(static_cast<double>(o_.features));
    for (std::int64_t i = 0; i < count; ++i) {
      const auto example = static_cast<std::uint64_t>(index(i));
      const auto label = static_cast<std::int64_t>(
          uniform_index(stream_seed(kProblemSeed, RandomStream::data, 1), example, o_.classes));
      auto generator = make_generator(kProblemSeed, RandomStream::data, 2, example);
      auto row = batch.inputs[i];
      row.normal_(0.0, noise, generator).add_(means_[label]);
      batch.targets[i] = label;
    }
    return batch;
  }

  GaussianOptions o_;
  std::uint64_t seed_;
  at::Tensor means_;
};

class GaussianClassesSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "gaussian_classes"; }
  std::string doc() const override { return "synthetic Gaussian classes, for MLPs and tests"; }

  void visit(FieldVisitor& v) override {
    v.integer({"features", "dimension of an example"}, o_.features, {1, 1 << 20});
    v.integer({"classes", "number of classes"}, o_.classes, {2, 1 << 20});
    v.integer({"examples", "size of the training set"}, o_.examples, {1, 1 << 30});
    v.integer({"validation_examples", "size of the validation set"}, o_.validation_examples,
              {1, 1 << 24});
    v.real({"separation", "norm of a class mean, in standard deviations of the noise's norm"},
           o_.separation, {0.0, 1e6});
  }

  std::unique_ptr<Dataset> open(std::uint64_t seed) const override {
    return std::make_unique<GaussianClasses>(o_, seed);
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
