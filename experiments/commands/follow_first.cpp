#include "experiments/commands/follow_first.hpp"

#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/stop_signal.hpp"

namespace blockwise {

int follow_first(const RankPlace& place, std::chrono::seconds timeout, bool dry_run,
                 const std::function<RunState(const Ranks&)>& serve) {
  if (dry_run) return kExitFinished;
  // A signal before they have met ends the process: there is nothing yet to be kept.
  const Ranks ranks(place, timeout);
  install_stop_handlers("product");
  return exit_code_of(serve(ranks));
}

}  // namespace blockwise
