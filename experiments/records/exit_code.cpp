#include "experiments/records/exit_code.hpp"

#include <fmt/format.h>

#include <array>

namespace blockwise {
namespace {

constexpr std::array kTexts = {"finished", "failed", "bad input", "diverged", "interrupted"};

}  // namespace

int exit_code_of(RunState state) {
  switch (state) {
    case RunState::finished:
      return kExitFinished;
    case RunState::diverged:
      return kExitDiverged;
    case RunState::interrupted:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

std::string exit_code_text(int code) {
  if (code < 0 || code >= static_cast<int>(kTexts.size())) return "";
  return kTexts[static_cast<std::size_t>(code)];
}

std::string exit_code_help() {
  std::string text = "Exit codes:";
  for (std::size_t code = 0; code < kTexts.size(); ++code) {
    text += fmt::format("{} {} {}", code == 0 ? "" : ",", code, kTexts[code]);
  }
  return text +
         ".\n"
         "Interrupted: SIGINT (Ctrl-C), SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU stopped it\n"
         "between two steps or products and what was done is saved; the same command goes on.\n"
         "A second SIGINT or SIGTERM quits at once, with 128 + its number in a shell.\n"
         "A sweep with diverged members is finished (0), one with a failed member is not (1).";
}

}  // namespace blockwise
