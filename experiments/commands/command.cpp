#include "experiments/commands/command.hpp"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <variant>

#include "core/base/error.hpp"
#include "core/io/truncated_input.hpp"
#include "core/parallel/rank_place.hpp"
#include "experiments/command_line/command_line.hpp"
#include "experiments/command_line/failure.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

template <typename... Options>
bool is_one_of(const VerbOptions& options) {
  return (std::holds_alternative<Options>(options) || ...);
}

// Started several times by a launcher, any other verb would do the same work several times, into
// the same files; what only answers may.
void require_shared_work(const VerbOptions& options) {
  if (is_one_of<TrainOptions, SpectrumOptions>(options)) return;
  if (is_one_of<PartitionOptions, SearchLrOptions>(options)) return;
  if (is_one_of<ListOptions, PlanOptions, CurvesOptions>(options)) return;
  const auto* report = std::get_if<ReportOptions>(&options);
  if (report != nullptr && !report->confirm) return;
  // They share the members by claims, and a member is a run of one process.
  if (is_one_of<SweepOptions>(options)) return forget_launcher(::unsetenv);
  const auto size = rank_place(::getenv).size;
  require_input(size == 1,
                "a launcher started {} processes of this verb: train, spectrum, partition and "
                "search-lr share their work among processes, no other does; start it once, without "
                "the launcher",
                size);
}

// LibTorch's errors, of which the rest of the command line knows nothing, without their stack.
int run(const VerbOptions& options) {
  require_shared_work(options);
  try {
    return std::visit([](const auto& told) { return run_verb(told); }, options);
  } catch (const c10::Error& error) {
    throw std::runtime_error(error.what_without_backtrace());
  }
}

}  // namespace

void print_note(const std::string& note) {
  if (note.empty()) return;
  const auto text = fmt::format("blockwise: note: {}\n", note);
  fmt::print(stderr, "{}", wrapped(text, columns_of(STDERR_FILENO), 2));
}

int run_program(int argc, char** argv) {
  end_on_truncated_input();
  return run_words(argc, argv);
}

int run_words(int argc, char** argv) {
  return explain_failures([&] {
    const auto options = read_command_line(argc, argv);
    return options ? run(*options) : 0;
  });
}

}  // namespace blockwise
