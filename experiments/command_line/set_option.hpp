// `--set key=value`, which many verbs have.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace blockwise {

// May be repeated. The list lives as long as the verb.
void add_set_option(CLI::App& verb, std::vector<std::string>& assignments);

}  // namespace blockwise
