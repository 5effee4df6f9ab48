// A multi-layer perceptron for classification: linear layers with ReLU, tanh, GELU or nothing
// between them. Initialisation: N(0, gain^2 / fan_in), gain sqrt(2) before ReLU and GELU, 1
// elsewhere.
#include <ATen/ATen.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/models/checkpointed_layer.hpp"
#include "core/models/layout_builder.hpp"

namespace blockwise {
namespace {

struct MlpOptions {
  std::int64_t inputs = 0;
  std::int64_t classes = 0;
  std::vector<std::int64_t> hidden = {64};
  std::string activation = "relu";
  bool bias = true;
};

at::Tensor activate(const std::string& activation, const at::Tensor& x) {
  if (activation == "relu") return at::relu(x);
  if (activation == "tanh") return at::tanh(x);
  if (activation == "linear") return x;
  return at::gelu(x);
}

class Mlp : public Model {
 public:
  Mlp(const MlpOptions& options, const ParameterStore& store) : activation_(options.activation) {
    for (std::size_t i = 0; i <= options.hidden.size(); ++i) {
      layers_.push_back(
          {store.tensor(fmt::format("layers.{}.weight", i)),
           options.bias ? store.tensor(fmt::format("layers.{}.bias", i)) : at::Tensor()});
    }
  }

  at::Tensor features(const at::Tensor& inputs, ForwardContext& context) const override {
    auto x = inputs.to(layers_.front().weight.scalar_type());
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
      const auto layer = [this, i](const at::Tensor& y, ForwardContext& inner) {
        return activate(activation_, layers_[i](y, inner));
      };
      x = run_layer(i, layer, x, context);
    }
    return x;
  }
  const Linear& head() const override { return layers_.back(); }

 private:
  std::string activation_;
  std::vector<Linear> layers_;
};

class MlpSpec : public ModelSpec {
 public:
  std::string family() const override { return "mlp"; }
  std::string doc() const override {
    return "multi-layer perceptron on vectors, for classification";
  }

  void visit(FieldVisitor& v) override {
    v.integer({"inputs", "features of an example; 0 takes the data's"}, options_.inputs,
              {0, 1 << 24});
    v.integer({"classes", "outputs; 0 takes the data's"}, options_.classes, {0, 1 << 24});
    v.integer_list({"hidden", "widths of the hidden layers"}, options_.hidden, {1, 1 << 20});
    v.choice({"activation", "between the layers"}, options_.activation,
             {"relu", "tanh", "gelu", "linear"});
    v.boolean({"bias", "biases in the linear layers"}, options_.bias);
  }

  void adapt_to(const DataShape& data) override {
    require_input(data.inputs == DataShape::Inputs::vectors,
                  "model mlp reads vectors, the data set has tokens");
    if (options_.inputs == 0) options_.inputs = data.features;
    if (options_.classes == 0) options_.classes = data.classes;
    require_input(options_.inputs == data.features, "model.inputs is {}, the data has {} features",
                  options_.inputs, data.features);
    require_input(options_.classes >= data.classes, "model.classes is {}, the data has {} classes",
                  options_.classes, data.classes);
  }

  std::int64_t context_length() const override { return 0; }
  std::int64_t separate_layers() const override {
    return static_cast<std::int64_t>(options_.hidden.size());
  }

  ParameterLayout layout() const override {
    require_input(
        options_.inputs > 0 && options_.classes > 0,
        "model mlp: inputs is {} and classes is {}: give both, or a data set to take them "
        "from",
        options_.inputs, options_.classes);
    LayoutBuilder builder;
    std::int64_t in = options_.inputs;
    for (std::size_t i = 0; i <= options_.hidden.size(); ++i) {
      const bool last = i == options_.hidden.size();
      const std::int64_t out = last ? options_.classes : options_.hidden[i];
      const bool halves = options_.activation == "relu" || options_.activation == "gelu";
      const double gain = !last && halves ? std::sqrt(2.0) : 1.0;
      const auto layer = static_cast<std::int64_t>(i);
      // These names match none of the published package's: it takes the tensors whole.
      builder
          .matrix(fmt::format("layers.{}.weight", i),
                  last ? ParameterRole::mlp_out : ParameterRole::mlp_in, layer, {out, in},
                  gain / std::sqrt(static_cast<double>(in)))
          .released = ReleasedTreatment::whole;
      if (options_.bias) {
        builder.vector(fmt::format("layers.{}.bias", i), ParameterRole::bias, layer, out,
                       Initialization::Kind::zeros);
      }
      in = out;
    }
    return builder.finish();
  }

  std::unique_ptr<Model> build(const ParameterStore& store) const override {
    return std::make_unique<Mlp>(options_, store);
  }
  std::unique_ptr<ModelSpec> clone() const override { return std::make_unique<MlpSpec>(*this); }

 private:
  MlpOptions options_;
};

}  // namespace

std::unique_ptr<ModelSpec> make_mlp() { return std::make_unique<MlpSpec>(); }

}  // namespace blockwise
