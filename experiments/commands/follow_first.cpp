#include "experiments/commands/follow_first.hpp"

#include "experiments/commands/meet_ranks.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/stop_signal.hpp"

namespace blockwise {

int follow_first(const RankPlace& place, const RunConfig& config, bool dry_run,
                 const std::function<RunState(const Ranks&)>& serve) {
  if (dry_run) return kExitFinished;
  const Ranks ranks = meet_ranks(place, config);
  install_stop_handlers("product");
  return exit_code_of(serve(ranks));
}

}  // namespace blockwise
