// How one pass of a model runs; none of it changes what the pass computes, beyond rounding.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <optional>

namespace blockwise {

class KeyValueCache;
class LayerWeights;

struct ForwardContext {
  // Draws dropout masks, where it is, so on the pass's device best; without it the pass is
  // deterministic (evaluation, Hessians).
  std::optional<at::Generator> dropout;
  // Keeps only each layer's input and computes the layer again in the backward pass: activations of
  // one layer instead of all, for one more forward pass. Gradients are bit-equal. Once
  // differentiable.
  bool checkpoint_layers = false;
  // Rows of logits that loss() holds at a time; 0 holds all. Once differentiable.
  std::int64_t loss_chunk_rows = 0;
  // Linear layers and attention in bfloat16 on float32 parameters; norms, residual sums and the
  // cross-entropy stay float32.
  bool autocast = false;
  // Attention from operations that differentiate twice, in place of the fused kernel, which does
  // not.
  bool twice_differentiable = false;
  // Kernels of our own where tensors are on the CPU, and on the meta device their memory. Without
  // them LibTorch's operations, whose memory on the meta device is a GPU's.
  bool cpu_kernels = true;
  // Fetches the weights of each layer; null where all are there. Once differentiable.
  LayerWeights* layer_weights = nullptr;
  // Keys and values of the positions before `inputs`, which the pass extends (sampling).
  KeyValueCache* cache = nullptr;
};

}  // namespace blockwise
