#include "core/parameters/module_parameters.hpp"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/instancenorm.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <optional>
#include <unordered_map>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

namespace nn = torch::nn;

template <typename... Types>
bool is_any(const nn::Module& module) {
  return (... || (dynamic_cast<const Types*>(&module) != nullptr));
}

bool has_matrix(const nn::Module& module) {
  return is_any<nn::LinearImpl, nn::Conv1dImpl, nn::Conv2dImpl, nn::Conv3dImpl>(module);
}

bool has_gain(const nn::Module& module) {
  return is_any<nn::LayerNormImpl, nn::GroupNormImpl, nn::BatchNorm1dImpl, nn::BatchNorm2dImpl,
                nn::BatchNorm3dImpl, nn::InstanceNorm1dImpl, nn::InstanceNorm2dImpl,
                nn::InstanceNorm3dImpl>(module);
}

Parameter matrix(const at::Tensor& tensor, ParameterRole role, const Heads& heads = {}) {
  Parameter parameter;
  parameter.role = role;
  parameter.shape = tensor.sizes().vec();
  parameter.heads = heads;
  return parameter;
}

Parameter vector(const at::Tensor& tensor, ParameterRole role) {
  Parameter parameter;
  parameter.role = role;
  parameter.shape = {tensor.numel()};
  return parameter;
}

Heads heads_of(const nn::MultiheadAttentionImpl& attention, Heads::Axis axis) {
  const auto& options = attention.options;
  return {options.num_heads(), options.embed_dim() / options.num_heads(), axis, 1};
}

// A parameter that a MultiheadAttention registers itself; `key` is its name in LibTorch's API.
std::optional<Parameter> attention_parameter(const nn::MultiheadAttentionImpl& attention,
                                             const std::string& key, const at::Tensor& tensor) {
  const auto heads = heads_of(attention, Heads::Axis::rows);
  const std::int64_t rows = heads.count * heads.dim;
  if (key == "q_proj_weight") return matrix(tensor, ParameterRole::query, heads);
  if (key == "k_proj_weight") return matrix(tensor, ParameterRole::key, heads);
  if (key == "v_proj_weight") return matrix(tensor, ParameterRole::value, heads);
  if (key == "in_proj_weight") {
    auto parameter = matrix(tensor, ParameterRole::other);
    parameter.sections = {{ParameterRole::query, rows, heads},
                          {ParameterRole::key, rows, heads},
                          {ParameterRole::value, rows, heads}};
    return parameter;
  }
  if (key == "in_proj_bias" || key == "bias_k" || key == "bias_v") {
    return vector(tensor, ParameterRole::bias);
  }
  return std::nullopt;
}

std::optional<Parameter> parameter_of(const nn::Module& module, const std::string& key,
                                      const at::Tensor& tensor) {
  if (const auto* attention = dynamic_cast<const nn::MultiheadAttentionImpl*>(&module)) {
    return attention_parameter(*attention, key, tensor);
  }
  const bool embeds = is_any<nn::EmbeddingImpl, nn::EmbeddingBagImpl>(module);
  const bool known = embeds || has_matrix(module) || has_gain(module);
  if (known && key == "bias") return vector(tensor, ParameterRole::bias);
  if (key != "weight") return std::nullopt;
  if (embeds) return matrix(tensor, ParameterRole::token_embedding);
  if (has_matrix(module)) return matrix(tensor, ParameterRole::other);
  if (has_gain(module)) return vector(tensor, ParameterRole::norm);
  return std::nullopt;
}

class Describer {
 public:
  void visit(const nn::Module& module, const std::string& prefix) {
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      add(module, item.key(), item.value(), prefix + item.key());
    }
    const auto* attention = dynamic_cast<const nn::MultiheadAttentionImpl*>(&module);
    for (const auto& child : module.named_children()) {
      const std::size_t before = result_.size();
      visit(*child.value(), prefix + child.key() + ".");
      if (attention != nullptr) mark_output(*attention, before);
    }
  }
  DescribedParameters take() { return std::move(result_); }

 private:
  void add(const nn::Module& module, const std::string& key, const at::Tensor& tensor,
           const std::string& name) {
    const auto [known, fresh] = index_.try_emplace(tensor.unsafeGetTensorImpl(), result_.size());
    if (!fresh) {
      result_[known->second].second.tied_names.push_back(name);
      return;
    }
    auto parameter = parameter_of(module, key, tensor);
    require_input(parameter.has_value(),
                  "parameter '{}' of a {} has no description by its module's type: give its "
                  "Parameter",
                  name, module.name());
    parameter->name = name;
    result_.emplace_back(tensor, *std::move(parameter));
  }

  // The matrix that an attention's own Linear added is its output projection.
  void mark_output(const nn::MultiheadAttentionImpl& attention, std::size_t first) {
    for (std::size_t i = first; i < result_.size(); ++i) {
      auto& parameter = result_[i].second;
      if (!parameter.is_matrix()) continue;
      parameter.role = ParameterRole::attention_output;
      parameter.heads = heads_of(attention, Heads::Axis::columns);
    }
  }

  DescribedParameters result_;
  std::unordered_map<const at::TensorImpl*, std::size_t> index_;
};

}  // namespace

DescribedParameters describe_modules(const torch::nn::Module& root) {
  Describer describer;
  describer.visit(root, "");
  return describer.take();
}

}  // namespace blockwise
