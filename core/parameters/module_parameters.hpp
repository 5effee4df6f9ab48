// Describes the parameters of any LibTorch module tree by the modules' types, so that partitions
// and optimizers work on models that were not written for this library.
//
//   Linear                             matrix [out, in]                      other
//   Embedding, EmbeddingBag            matrix [tokens, width]                token_embedding
//   Conv1d, Conv2d, Conv3d             one row per output filter             other
//   MultiheadAttention                 query, key and value with heads of rows (a fused in_proj has
//                                      three sections), out_proj with heads of columns
//   LayerNorm, GroupNorm, BatchNorm*, InstanceNorm*   gain: vector           norm
//   biases of all of these, bias_k and bias_v         vector                 bias
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "core/parameters/parameter.hpp"

namespace torch::nn {
class Module;
}

namespace blockwise {

using DescribedParameters = std::vector<std::pair<at::Tensor, Parameter>>;

// In the order of the modules; blocks carry the dotted names of named_parameters(). A tensor that
// several modules register appears once, with tied names. Throws InputError naming a parameter
// whose module has none of the types above.
DescribedParameters describe_modules(const torch::nn::Module& root);

}  // namespace blockwise
