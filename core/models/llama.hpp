// The LLaMA family (Touvron et al., arXiv 2302.13971): RMSNorm before each branch, rotary
// positions, SwiGLU, grouped-query attention; head_dim free of n_embd / n_head; head tied or not.
// With its options also Mistral (sliding window), Qwen2 (biases on query, key and value) and Qwen3
// (RMSNorm over each query and key head). Initialisation: N(0, init_std^2), residual projections
// divided by sqrt(2 n_layer).
#pragma once

#include "core/models/layers.hpp"
#include "core/models/layout_builder.hpp"
#include "core/models/rotary.hpp"

namespace blockwise {

struct LlamaOptions {
  TokenSizes sizes;
  std::int64_t n_layer = 8;
  std::int64_t n_head = 8;
  std::int64_t n_kv_head = 0;
  std::int64_t n_embd = 512;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;
  double rope_theta = 10000.0;
  RotaryScaling rope_scaling;
  std::int64_t sliding_window = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
  double norm_eps = 1e-5;
  bool tie_word_embeddings = false;
  double dropout = 0.0;
  double init_std = 0.02;
  std::string linear = "exact";

  std::int64_t kv_heads() const { return n_kv_head == 0 ? n_head : n_kv_head; }
  std::int64_t head_width() const { return head_dim == 0 ? n_embd / n_head : head_dim; }
  // SwiGLU has three matrices where GELU has two: 2/3 of 4 n_embd, rounded up to a multiple of 16
  // below width 1024 and of 256 from there on.
  std::int64_t mlp_width() const;
};

class LlamaSpec : public ModelSpec {
 public:
  LlamaSpec() = default;
  explicit LlamaSpec(const LlamaOptions& options) : options_(options) {}
  const LlamaOptions& options() const { return options_; }

  std::string family() const override { return "llama"; }
  std::string doc() const override {
    return "LLaMA, Mistral, Qwen2, Qwen3: RMSNorm, rotary positions, SwiGLU, grouped queries";
  }
  void visit(FieldVisitor& v) override;
  void adapt_to(const DataShape& data) override { options_.sizes.adapt_to(data, family()); }
  ParameterLayout layout() const override;
  std::int64_t context_length() const override { return options_.sizes.block_size; }
  std::int64_t separate_layers() const override { return options_.n_layer; }
  bool draws_masks() const override { return options_.dropout > 0.0; }
  std::unique_ptr<Model> build(const ParameterStore& store) const override;
  std::unique_ptr<ModelSpec> clone() const override { return std::make_unique<LlamaSpec>(*this); }

 private:
  LlamaOptions options_;
};

}  // namespace blockwise
