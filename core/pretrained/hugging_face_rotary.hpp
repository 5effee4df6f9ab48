// The rotary options of config.json, as transformers 4 and 5 write them and 5 reads them.
#pragma once

#include "core/models/llama.hpp"
#include "core/pretrained/json_config.hpp"
#include "core/pretrained/option_bounds.hpp"

namespace blockwise {

// transformers 5 has everything in `rope_parameters`; 4 has `rope_theta` beside an optional
// `rope_scaling` (whose kind older files call `type`). A `rope_scaling` that is not null takes the
// place of `rope_parameters`, its rope_theta included; where that would change the base unnoticed,
// an InputError says so. Sets rope_theta and rope_scaling, and the longest sequence: transformers
// has no bound there, so a context that yarn or dynamic stretches is as long as they make it.
// Needs o.sizes.block_size = max_position_embeddings.
void read_rotary(const JsonConfig& config, LlamaOptions& o);

// Twice, once where transformers 4 looks for them and once where 5 does.
void write_rotary(const LlamaOptions& o, nlohmann::ordered_json& config);

// Their keys by option.
OptionNames rotary_keys();

}  // namespace blockwise
