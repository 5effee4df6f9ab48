// Learned optimizers: a small network per element makes the step out of statistics of the gradient.
//   adafactor_mlp: AdafacMLPLOpt (Metz et al., arXiv 2203.11860); mlp_lopt: MLPLOpt (Metz et al.,
//   arXiv 1810.10180), both in the form of google/learned_optimization
//   m_k <- beta_k m_k + (1 - beta_k) g', no bias correction; v alike of g'^2; row, col of the means
//   of g'^2 + 1e-30 over the longer side of a matrix and over the other
//   x = features, each divided by sqrt(1e-5 + its mean square over the tensor), and the clock
//   tanh((t - 1) / tau - 1), tau = 1, 3, 10, ..., 1e5
//   direction, magnitude = network(x);  w <- (1 - lr wd) w - lr direction exp(0.001 magnitude)
// Features of adafactor_mlp: g', w, m (3), v, m / sqrt(v + 1e-6) (3), 1 / sqrt(v + 1e-6), f g' (3),
// row (3), col (3), 1 / sqrt(row + 1e-8) (3), 1 / sqrt(col + 1e-8) (3), f m (3), f = (row /
// mean(row))^-1/2 col^-1/2; of mlp_lopt: g', w, m (6). A vector has v in the place of row and col.
// The network has ReLUs between its layers.
//
// learning_rate 1e-3 takes steps as they were trained. Without a file the weights are those that
// notebooks/studies/learned_optimizer.py trained for a few minutes on small classifiers; the
// authors' are in no repository. `weights`: safetensors with w0 [features, hidden], b0 [hidden],
// w1, b1, ... up to 2 outputs, float32, and for adafactor_mlp momentum_decays [3], rms_decays [1],
// adafactor_decays [3], shifts x in beta = 1 - (1 - beta_0) e^(10 x), 0 where missing. A gradient
// of 0 does not stop it: weights and time are inputs, too. Deviations: tensors of more axes are
// matrices; decay, which they do not have. State: 16 bytes per parameter and 12 (rows + columns), a
// vector 28; mlp_lopt 24.
#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <map>

#include "core/base/error.hpp"
#include "core/io/safetensors.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/tensor_steps.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

constexpr std::array kTimescales = {1e0, 3e0, 1e1, 3e1, 1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5};
constexpr std::int64_t kWidest = 1024, kMostLayers = 16;

// ---- weights ------------------------------------------------------------------------------------

struct Constant {
  const char* name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

const std::vector<Constant>& trained_constants(bool adafactor) {
  static const std::vector<Constant> of_adafactor = {
#include "optimizers/rules/adafactor_mlp_weights.inc"
  };
  static const std::vector<Constant> of_mlp = {
#include "optimizers/rules/mlp_lopt_weights.inc"
  };
  return adafactor ? of_adafactor : of_mlp;
}

using Weights = std::map<std::string, at::Tensor>;

Weights trained_weights(bool adafactor) {
  Weights weights;
  for (const auto& [name, shape, values] : trained_constants(adafactor)) {
    weights[name] = at::tensor(values).view(shape);
  }
  return weights;
}

Weights weights_of(const std::string& path, bool adafactor) {
  if (path.empty()) return trained_weights(adafactor);
  Weights weights;
  for (const auto& [name, tensor] : read_safetensors(path).tensors) {
    require_input(tensor.scalar_type() == at::kFloat, "{}: '{}' is {}, F32 is needed", path, name,
                  c10::toString(tensor.scalar_type()));
    require_input(at::isfinite(tensor).all().item<bool>(),
                  "{}: '{}' has values that are not finite", path, name);
    weights[name] = tensor.clone();
  }
  return weights;
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

class Network {
 public:
  // The layers w0, b0, w1, ... among the weights, of `inputs` features and two outputs.
  Network(const Weights& weights, std::int64_t inputs, const std::string& file) {
    for (std::int64_t k = 0; weights.contains(fmt::format("w{}", k)); ++k) {
      require_input(k < kMostLayers, "{}: has more than {} layers", file, kMostLayers);
      const auto& w = weights.at(fmt::format("w{}", k));
      const auto b = weights.find(fmt::format("b{}", k));
      require_input(w.dim() == 2 && w.size(0) == inputs && w.size(1) <= kWidest && w.size(1) > 0,
                    "{}: 'w{}' is {}, [{}, outputs] with at most {} outputs is needed", file, k,
                    shape_text(w.sizes()), inputs, kWidest);
      require_input(b != weights.end(), "{}: has no 'b{}'", file, k);
      require_input(b->second.dim() == 1 && b->second.size(0) == w.size(1),
                    "{}: 'b{}' is {}, [{}] is needed", file, k, shape_text(b->second.sizes()),
                    w.size(1));
      layers_.emplace_back(w, b->second);
      inputs = w.size(1);
    }
    require_input(!layers_.empty(), "{}: has no 'w0'", file);
    require_input(inputs == 2, "{}: the last layer has {} outputs, 2 are needed", file, inputs);
  }

  // Before the first ReLU, [elements, hidden]: what the clock gives.
  at::Tensor start(std::int64_t elements, std::int64_t step, std::int64_t first,
                   const at::Tensor& like) const {
    auto sum = layers_[0].second.to(at::kDouble);
    for (std::size_t k = 0; k < kTimescales.size(); ++k) {
      const double time = std::tanh(double(step - 1) / kTimescales[k] - 1.0);
      sum = sum + layers_[0].first[first + std::int64_t(k)].to(at::kDouble) * time;
    }
    return sum.to(like.options().dtype(at::kFloat)).expand({elements, -1}).clone();
  }
  // Adds one feature, [elements], divided by its root mean square.
  void add(const at::Tensor& hidden, const at::Tensor& x, std::int64_t feature) const {
    const auto divisor = (root_mean_square(x).square() + 1e-5).sqrt();
    hidden.addr_((x / divisor).reshape({-1}).to(at::kFloat),
                 layers_[0].first[feature].to(hidden.device()));
  }
  // direction exp(0.001 magnitude), [elements]. Products are summed unit by unit: LibTorch's matrix
  // product would sum in an order that follows the threads.
  at::Tensor output(at::Tensor x) const {
    for (std::size_t k = 1; k < layers_.size(); ++k) {
      const auto w = layers_[k].first.to(x.device());
      auto sum = layers_[k].second.to(x.device()).expand({x.size(0), -1}).clone();
      x.relu_();
      for (std::int64_t unit = 0; unit < w.size(0); ++unit) sum.addr_(x.select(1, unit), w[unit]);
      x = sum;
    }
    return x.select(1, 0) * (x.select(1, 1) * 1e-3).exp();
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> layers_;
};

// 1 - (1 - beta) e^(10 x), x of the weights' tensor `key`.
std::vector<double> shifted(std::vector<double> decays, const Weights& weights,
                            const std::string& key, const std::string& file) {
  const auto found = weights.find(key);
  if (found == weights.end()) return decays;
  require_input(found->second.dim() == 1 && found->second.size(0) == std::ssize(decays),
                "{}: '{}' is {}, [{}] is needed", file, key, shape_text(found->second.sizes()),
                decays.size());
  for (std::size_t k = 0; k < decays.size(); ++k) {
    const double x = found->second[std::int64_t(k)].item<double>();
    decays[k] = 1.0 - (1.0 - decays[k]) * std::exp(10.0 * x);
    require_input(decays[k] >= 0.0 && decays[k] < 1.0,
                  "{}: '{}' makes a decay of {}, at least 0 and below 1 is needed", file, key,
                  decays[k]);
  }
  return decays;
}

// average[k] <- decays[k] average[k] + (1 - decays[k]) x; the average is [decays, shape of x].
void average(const at::Tensor& averages, const std::vector<double>& decays, const at::Tensor& x) {
  for (std::size_t k = 0; k < decays.size(); ++k) {
    const auto one = averages[std::int64_t(k)];
    one.mul_(decays[k]).add_(x.reshape(one.sizes()), 1.0 - decays[k]);
  }
}

std::vector<std::int64_t> copies(std::int64_t count, const Parameter& parameter) {
  return {count, parameter.rows(), parameter.columns()};
}

struct LearnedOptions {
  std::string weights;
  void visit(FieldVisitor& v) {
    v.text(
        {"weights", "safetensors file of the network; \"\": small ones that come with blockwise"},
        weights);
  }
};

std::string file_text(const LearnedOptions& options) {
  return options.weights.empty() ? "the built-in weights" : options.weights;
}

// The features of one step, added to the hidden units of the first layer one after the other.
class Features {
 public:
  Features(const Network& network, std::int64_t count, const ParameterStep& p,
           const StepScope& scope)
      : network_(network),
        shape_{p.parameter.rows(), p.parameter.columns()},
        hidden_(network.start(p.parameter.size(), scope.step, count, p.weight)) {}

  void add(const at::Tensor& x) { network_.add(hidden_, x.expand(shape_), next_++); }
  // The step at learning rate 1, [rows, columns].
  at::Tensor step() const { return network_.output(hidden_).view(shape_); }

 private:
  const Network& network_;
  std::vector<std::int64_t> shape_;
  at::Tensor hidden_;  // [elements, units]
  std::int64_t next_ = 0;
};

at::Tensor take_learned_step(const ParameterStep& p, const StepScope& scope,
                             const Features& features) {
  return take_step(as_matrix(p, p.weight), features.step(),
                   {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
}

// ---- mlp_lopt -----------------------------------------------------------------------------------

class MlpLopt : public UpdateRule {
 public:
  using Options = LearnedOptions;
  explicit MlpLopt(const Options& options)
      : network_(weights_of(options.weights, false), kFeatures + std::ssize(kTimescales),
                 file_text(options)) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    return {{"momenta", copies(std::ssize(decays_), parameter)}};
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto& momenta = p.state.load(0);
    average(momenta, decays_, g);
    Features features(network_, kFeatures, p, scope);
    features.add(g);
    features.add(as_matrix(p, p.weight));
    for (const auto& m : momenta.unbind()) features.add(m);
    return take_learned_step(p, scope, features);
  }

 private:
  static constexpr std::int64_t kFeatures = 8;
  const std::vector<double> decays_ = {0.1, 0.5, 0.9, 0.99, 0.999, 0.9999};
  Network network_;
};

// ---- adafactor_mlp ------------------------------------------------------------------------------

// The factored moments of a matrix, or v of a vector in the place of both.
struct Moments {
  at::Tensor row, col;  // [decays, rows, columns] but for the axis that was averaged, which is 1
  bool is_vector;

  // What multiplies a gradient, of decay k: (row / mean(row))^-1/2 col^-1/2, or v^-1/2.
  at::Tensor factor(std::int64_t k, double floor) const {
    if (is_vector) return (row[k] + floor).rsqrt();
    const auto mean = row[k].mean() + 1e-9;
    return (row[k] / mean).clamp_min_(1e-9).rsqrt_() * col[k].clamp_min(1e-9).rsqrt_();
  }
};

class AdafactorMlp : public UpdateRule {
 public:
  using Options = LearnedOptions;
  explicit AdafactorMlp(const Options& options)
      : AdafactorMlp(weights_of(options.weights, true), file_text(options)) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    std::vector<StateSpec> specs{{"momenta", copies(3, parameter)},
                                 {"exp_avg_sq", parameter.shape, StateUse::non_negative}};
    if (!parameter.is_matrix()) {
      specs.push_back({"exp_avg_sqs", copies(3, parameter), StateUse::non_negative});
    } else {
      specs.push_back({"exp_avg_sq_row", {3, parameter.rows()}, StateUse::non_negative});
      specs.push_back({"exp_avg_sq_col", {3, parameter.columns()}, StateUse::non_negative});
    }
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto squares = g.square();
    const auto& m = p.state.load(0);
    const auto v = as_matrix(p, p.state.load(1));
    average(m, momentum_, g);
    v.mul_(rms_[0]).add_(squares, 1.0 - rms_[0]);
    const auto moments = update_moments(p, squares + 1e-30);
    Features features(network_, kFeatures, p, scope);
    features.add(g);
    features.add(as_matrix(p, p.weight));
    add_features(features, g, m, v, moments);
    return take_learned_step(p, scope, features);
  }

 private:
  AdafactorMlp(const Weights& weights, const std::string& file)
      : momentum_(shifted({0.9, 0.99, 0.999}, weights, "momentum_decays", file)),
        rms_(shifted({0.999}, weights, "rms_decays", file)),
        adafactor_(shifted({0.9, 0.99, 0.999}, weights, "adafactor_decays", file)),
        network_(weights, kFeatures + std::ssize(kTimescales), file) {}

  Moments update_moments(const ParameterStep& p, const at::Tensor& squares) const {
    if (!p.parameter.is_matrix()) {
      const auto& v = p.state.load(2);
      average(v, adafactor_, squares);
      return {v, v, true};
    }
    const auto of_rows = p.state.load(2), of_columns = p.state.load(3);
    average(of_rows, adafactor_, row_means(squares));
    average(of_columns, adafactor_, column_means(squares));
    const auto rows = of_rows.unsqueeze(2), columns = of_columns.unsqueeze(1);
    // `row` is what the longer side was averaged to; the last axis where both are as long.
    if (p.parameter.columns() >= p.parameter.rows()) return {rows, columns, false};
    return {columns, rows, false};
  }

  static void add_features(Features& features, const at::Tensor& g, const at::Tensor& m,
                           const at::Tensor& v, const Moments& moments) {
    const auto root = (v + 1e-6).rsqrt_();
    for (int k = 0; k < 3; ++k) features.add(m[k]);
    features.add(v);
    for (int k = 0; k < 3; ++k) features.add(m[k] * root);
    features.add(root);
    for (int k = 0; k < 3; ++k) features.add(g * moments.factor(k, 1e-9));
    for (int k = 0; k < 3; ++k) features.add(moments.row[k]);
    for (int k = 0; k < 3; ++k) features.add(moments.col[k]);
    for (int k = 0; k < 3; ++k) features.add((moments.row[k] + 1e-8).rsqrt_());
    for (int k = 0; k < 3; ++k) features.add((moments.col[k] + 1e-8).rsqrt_());
    for (int k = 0; k < 3; ++k) features.add(m[k] * moments.factor(k, 1e-6));
  }

  static constexpr std::int64_t kFeatures = 28;
  std::vector<double> momentum_, rms_, adafactor_;
  Network network_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_adafactor_mlp() {
  return rule_spec<AdafactorMlp>(
      {"adafactor_mlp", "a learned optimizer: a small network on Adafactor's statistics"});
}

std::unique_ptr<RuleSpec> make_mlp_lopt() {
  return rule_spec<MlpLopt>({"mlp_lopt", "a learned optimizer: a network on six averages"});
}

}  // namespace blockwise
