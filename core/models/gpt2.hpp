// The GPT-2 family (Radford et al. 2019): learned positions, pre-LayerNorm, GELU in its tanh form
// (or exact), fused QKV, optional biases, head tied to the token embedding or not.
// Initialisation as published: N(0, 0.02^2), residual projections N(0, 0.02^2 / (2 n_layer)).
#pragma once

#include "core/models/layout_builder.hpp"

namespace blockwise {

struct Gpt2Options {
  TokenSizes sizes;
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_embd = 768;
  std::int64_t intermediate_size = 0;
  std::string activation = "gelu_tanh";
  bool bias = true;
  bool tie_word_embeddings = true;
  double norm_eps = 1e-5;
  double dropout = 0.0;
  double init_std = 0.02;
  std::string linear = "exact";

  std::int64_t mlp_width() const { return intermediate_size == 0 ? 4 * n_embd : intermediate_size; }
};

class Gpt2Spec : public ModelSpec {
 public:
  Gpt2Spec() = default;
  explicit Gpt2Spec(const Gpt2Options& options) : options_(options) {}
  const Gpt2Options& options() const { return options_; }

  std::string family() const override { return "gpt2"; }
  std::string doc() const override {
    return "GPT-2: learned positions, LayerNorm, GELU, fused QKV";
  }
  void visit(FieldVisitor& v) override;
  void adapt_to(const DataShape& data) override { options_.sizes.adapt_to(data, family()); }
  ParameterLayout layout() const override;
  std::int64_t context_length() const override { return options_.sizes.block_size; }
  std::int64_t separate_layers() const override { return options_.n_layer; }
  bool draws_masks() const override { return options_.dropout > 0.0; }
  std::unique_ptr<Model> build(const ParameterStore& store) const override;
  std::unique_ptr<ModelSpec> clone() const override { return std::make_unique<Gpt2Spec>(*this); }

 private:
  Gpt2Options options_;
};

}  // namespace blockwise
