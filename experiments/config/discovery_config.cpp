#include "experiments/config/discovery_config.hpp"

#include <algorithm>

#include "experiments/config/candidate_names.hpp"

namespace blockwise {
const std::vector<std::string>& candidate_names() {
  static const std::vector<std::string> names = {
      "whole",          "head",    "rows_8", "row", "column", "factored", "factored_per_head",
      "head_by_column", "tile_16", "element"};
  return names;
}

void DiscoveryConfig::visit(FieldVisitor& v) {
  v.choice(
      {"objective",
       "energy of the Hessian inside blocks, homogeneity of the second moment inside them, its "
       "signal-to-noise ratio as SlimAdam has it (the better axis, or a value per element where "
       "both are below 1), which takes gradients alone, or the loss of paired training "
       "runs, role by role, from what energy and homogeneity propose"},
      objective, {"energy", "homogeneity", "signal_to_noise", "loss"});
  v.choice_list({"candidates",
                 "structures to choose from; empty: all, by signal_to_noise row, column and "
                 "element. `whole` is always one of them, by loss `element` too"},
                candidates, candidate_names());
  v.choice(
      {"scope",
       "of a product: each matrix by itself, or the whole model at once, which is a fraction of "
       "the work and brings in the noise of the other tensors; sections whose own energy is not "
       "five standard errors above it get no lift"},
      scope, {"tensor", "model"});
  v.real({"max_state", "bound on the values of the second moment, as a share of the parameters"},
         max_state, {0.0, 1.0, true, false});
  v.real({"state_cost", "what a value per element costs, in units of the objective"}, state_cost,
         {0.0, 1e6});
  v.integer({"vectors",
             "of the sign-coded probes; errors are their spread. 0: no products with the Hessian, "
             "which homogeneity does not choose by; only the gradients then"},
            vectors, {0, kLargeCount});
  v.check("vectors", vectors == 1 ? "1, but errors take two of them" : "");
  v.integer({"codes", "sign codes per vector and level"}, codes, {2, kLargeCount});
  v.integer({"gradient_batches", "of hessian.batch_size, whose squared gradients make the moment"},
            gradient_batches, {8, kLargeCount});
  v.integer({"validation_vectors",
             "fresh probes that measure the chosen blocks again, on the same and on other batches; "
             "0: none"},
            validation_vectors, {0, kLargeCount});
  v.check("validation_vectors", validation_vectors == 1 ? "1, but errors take two of them" : "");
  v.integer({"sample",
             "which batches: 0 the first hessian.batches of the run's order, 1 those behind them, "
             "and so on"},
            sample, {0, kLargeCount});
  v.integer({"condition_blocks",
             "per role and structure, the chosen one's and adam_mini's: blocks whose condition "
             "number is measured; none where nothing takes products"},
            condition_blocks, {0, kLargeCount});
  v.boolean({"merge",
             "sections that stay whole share one value where the couplings between them are above "
             "those of shuffled codes"},
            merge);
  const bool chooses_by_products = objective == "energy" || by_loss() || merge;
  v.check("vectors", vectors == 0 && chooses_by_products
                         ? "0, but the objectives energy and loss, and merge, take products"
                         : "");
  v.boolean({"shuffle", "a control: the elements of every tensor in random order"}, shuffle);
  v.integer({"trial_steps", "loss: steps of a training run; 0: trainer.steps"}, trial_steps,
            {0, kLargeCount});
  v.integer({"trial_seeds", "loss: pairs per change, at most"}, trial_seeds, {3, 1000});
  v.integer({"max_trials", "loss: training runs in all, at most"}, max_trials, {1, kLargeCount});
  v.real({"tolerance", "loss: nats that all coarsening together may cost"}, tolerance, {0.0, 1e3});
  v.integer({"seed", "of probes and shuffles"}, seed,
            {0, std::numeric_limits<std::int64_t>::max()});
}

bool DiscoveryConfig::uses(const std::string& candidate) const {
  return candidates.empty() || candidate == "whole" || (by_loss() && candidate == "element") ||
         std::ranges::count(candidates, candidate) > 0;
}

}  // namespace blockwise
