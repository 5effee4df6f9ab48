#include "experiments/commands/meet_ranks.hpp"

namespace blockwise {

Ranks meet_ranks(const RankPlace& place, const RunConfig& config) {
  return Ranks(place, std::chrono::seconds(config.parallel.timeout_seconds), config.trainer.device);
}

}  // namespace blockwise
