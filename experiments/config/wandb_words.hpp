// Words of Weights & Biases' sweep files that mean something else here, or nothing: what to write
// instead. For errors about words that were refused anyway.
#pragma once

#include <string>

namespace blockwise {

// ": write ..., ..." for a word that people bring along, "" for any other.
std::string wandb_section_hint(const std::string& key);          // beside method and parameters
std::string wandb_method_hint(const std::string& method);        // bayes
std::string wandb_domain_hint(const std::string& key);           // of one parameter: mu, q
std::string wandb_distribution_hint(const std::string& word);    // log_uniform
std::string wandb_parameter_hint(const std::string& parameter);  // lr, batch_size

}  // namespace blockwise
