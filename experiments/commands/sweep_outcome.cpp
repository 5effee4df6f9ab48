#include "experiments/commands/sweep_outcome.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "experiments/commands/json_text.hpp"
#include "experiments/commands/stop_report.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/shell_word.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {

SweepOutcome sum(const SweepOutcome& a, const SweepOutcome& b) {
  return {a.finished + b.finished, a.diverged + b.diverged, a.failed + b.failed,
          a.unfinished + b.unfinished, a.left_to_others + b.left_to_others};
}

int report_outcome(const SweepManifest& sweep, std::size_t members, const SweepOutcome& outcome,
                   bool json) {
  if (json) {
    const nlohmann::ordered_json word = {
        {"finished", outcome.finished},    {"diverged", outcome.diverged},
        {"failed", outcome.failed},        {"unfinished", outcome.unfinished},
        {"folder", sweep.folder.string()}, {"left_to_others", outcome.left_to_others}};
    fmt::print("{}\n", json_text(word));
  } else {
    print_words(fmt::format(
        "{} of {} members finished, {} diverged, {} failed, {} unfinished{}.\nNext: blockwise "
        "report {}\n",
        outcome.finished, members, outcome.diverged, outcome.failed, outcome.unfinished,
        outcome.left_to_others > 0 ? fmt::format(", {} left to others", outcome.left_to_others)
                                   : "",
        shell_word(sweep.folder.string())));
  }
  if (outcome.diverged > 0 && !json) {
    fmt::print("Diverged members are results, not failures: the report shows them.\n");
  }
  if (outcome.unfinished > 0) return report_stop(json);
  return outcome.failed > 0 ? kExitFailed : kExitFinished;
}

}  // namespace blockwise
