// The layout of LLaMA-7B (Touvron et al., arXiv 2302.13971: 32 layers, width 4096, MLP 11008, 32000
// tokens, 6.738e9 parameters).
#pragma once

#include "tests/support/set_fields.hpp"

namespace blockwise::testing {

inline ParameterLayout llama_7b() {
  return model_spec("llama", {{"vocab_size", 32000},
                              {"block_size", 2048},
                              {"n_layer", 32},
                              {"n_head", 32},
                              {"n_embd", 4096},
                              {"intermediate_size", 11008}})
      ->layout();
}

}  // namespace blockwise::testing
