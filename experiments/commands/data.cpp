#include "experiments/commands/command.hpp"
#include "experiments/text/prepare_tokens.hpp"

namespace blockwise {

int run_verb(const DataOptions& options) { prepare_tokens(options.words); }

}  // namespace blockwise
