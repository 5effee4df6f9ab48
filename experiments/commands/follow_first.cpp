#include "experiments/commands/follow_first.hpp"

#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/stop_signal.hpp"

namespace blockwise {

int follow_first(const RankPlace& place, std::chrono::seconds timeout, bool dry_run,
                 const std::function<RunState(const Ranks&)>& serve) {
  if (dry_run) return kExitFinished;
  install_stop_handlers("product");
  return exit_code_of(serve(Ranks(place, timeout)));
}

}  // namespace blockwise
