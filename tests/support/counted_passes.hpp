// A model that tells of every forward pass: how much work was done, whoever counted it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/model.hpp"
#include "experiments/config/run_config.hpp"

namespace blockwise::testing {

class TellingModel : public Model {
 public:
  TellingModel(std::unique_ptr<Model> model, std::function<void()> tell)
      : model_(std::move(model)), tell_(std::move(tell)) {}
  at::Tensor features(const at::Tensor& inputs, ForwardContext& context) const override {
    tell_();
    return model_->features(inputs, context);
  }
  const Linear& head() const override { return model_->head(); }

 private:
  std::unique_ptr<Model> model_;
  std::function<void()> tell_;
};

class TellingSpec : public ModelSpec {
 public:
  TellingSpec(std::unique_ptr<ModelSpec> spec, std::function<void()> tell)
      : spec_(std::move(spec)), tell_(std::move(tell)) {}
  std::string family() const override { return spec_->family(); }
  std::string doc() const override { return spec_->doc(); }
  void visit(FieldVisitor& visitor) override { spec_->visit(visitor); }
  void adapt_to(const DataShape& data) override { spec_->adapt_to(data); }
  ParameterLayout layout() const override { return spec_->layout(); }
  std::int64_t context_length() const override { return spec_->context_length(); }
  std::unique_ptr<Model> build(const ParameterStore& store) const override {
    return std::make_unique<TellingModel>(spec_->build(store), tell_);
  }
  std::unique_ptr<ModelSpec> clone() const override {
    return std::make_unique<TellingSpec>(spec_->clone(), tell_);
  }

 private:
  std::unique_ptr<ModelSpec> spec_;
  std::function<void()> tell_;
};

inline void tell_passes(RunConfig& config, std::function<void()> tell) {
  std::unique_ptr<ModelSpec> telling =
      std::make_unique<TellingSpec>(config.model.spec->clone(), std::move(tell));
  config.model.spec = std::move(telling);
}

}  // namespace blockwise::testing
