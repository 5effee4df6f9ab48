// Data set `no_data`: one example that says nothing, for models that are functions of their
// parameters alone.
#include <ATen/ATen.h>

#include "core/dataset.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kClasses = 2;  // what a data set with classes has at least
constexpr std::int64_t kExamples = std::int64_t{1} << 40;  // as many as anybody asks for

class NoData : public Dataset {
 public:
  DataShape shape() const override { return {DataShape::Inputs::vectors, kClasses, 1, 1}; }
  Batch training_examples(std::int64_t, std::int64_t count) const override {
    return nothing(count);
  }
  std::int64_t sequential_size() const override { return kExamples; }
  Batch sequential_examples(std::int64_t, std::int64_t count) const override {
    return nothing(count);
  }
  ExamplePlace place(ExampleOrder, std::int64_t index) const override { return {"", index}; }
  std::int64_t validation_size() const override { return 1; }
  Batch validation_examples(std::int64_t, std::int64_t count) const override {
    return nothing(count);
  }

 private:
  static Batch nothing(std::int64_t count) {
    return {at::zeros({count, 1}), at::zeros({count}, at::kLong)};
  }
};

class NoDataSpec : public DatasetSpec {
 public:
  std::string kind() const override { return "no_data"; }
  std::string doc() const override { return "nothing, for functions of the parameters alone"; }
  void visit(FieldVisitor&) override {}
  std::unique_ptr<Dataset> open(std::uint64_t) const override { return std::make_unique<NoData>(); }
  DataShape stated_shape() const override { return {DataShape::Inputs::vectors, kClasses, 1, 1}; }
  std::unique_ptr<DatasetSpec> clone() const override {
    return std::make_unique<NoDataSpec>(*this);
  }
};

}  // namespace

std::unique_ptr<DatasetSpec> make_no_data() { return std::make_unique<NoDataSpec>(); }

}  // namespace blockwise
