#include "experiments/cluster/slurm.hpp"

#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/cluster/command_output.hpp"

namespace blockwise {
namespace {

// "sbatch: error: invalid partition specified: x", in one line.
std::string last_words(const CommandOutput& answer) {
  std::string text;
  std::istringstream lines(answer.errors.empty() ? answer.output : answer.errors);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) text += (text.empty() ? "" : "; ") + printable(line);
  }
  return text.empty() ? fmt::format("exit code {}", answer.exit_code) : text;
}

std::string answer_of(const std::vector<std::string>& words, const std::string& input = "") {
  const auto answer = run_command(words, input);
  require_input(answer.has_value(),
                "{}: no such program in the PATH; --launcher slurm needs Slurm's programs here "
                "(`--export-only` prints the script without them)",
                words.front());
  if (answer->exit_code == 0) return answer->output;
  throw std::runtime_error(fmt::format("{} failed: {}", words.front(), last_words(*answer)));
}

[[noreturn]] void fail_to_read(const char* program, const std::string& answer) {
  throw std::runtime_error(
      fmt::format("{} answered '{}', which is not understood", program, printable(answer)));
}

}  // namespace

std::int64_t submit_job(const std::string& script, std::optional<std::int64_t> after) {
  std::vector<std::string> words = {"sbatch", "--parsable"};
  if (after) words.push_back(fmt::format("--dependency=afterany:{}", *after));
  const auto answer = answer_of(words, script);  // "123", or "123;cluster"
  const auto job = std::atoll(answer.c_str());
  if (job <= 0) fail_to_read("sbatch", answer);
  return job;
}

std::set<SlurmTask> queued_tasks() {
  const auto answer = answer_of(
      {"squeue", "--noheader", "--array", fmt::format("--user={}", ::geteuid()), "--format=%F %K"});
  std::set<SlurmTask> tasks;
  std::istringstream lines(answer);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::int64_t job = 0, task = 0;
    if (words >> job >> task) tasks.insert({job, task});  // a job without tasks has N/A
  }
  return tasks;
}

std::int64_t largest_array() {
  constexpr std::int64_t kDefault = 1001;
  const auto answer = answer_of({"scontrol", "show", "config"});
  const auto at = answer.find("MaxArraySize");
  const auto equals = answer.find('=', at);
  if (at == std::string::npos || equals == std::string::npos) return kDefault;
  const auto size = std::atoll(answer.c_str() + equals + 1);
  return size > 0 ? size : kDefault;
}

void requeue_own_job() {
  const char* job = std::getenv("SLURM_JOB_ID");
  require_input(job != nullptr, "SLURM_JOB_ID is not set: this is no job of Slurm's");
  answer_of({"scontrol", "requeue", job});
}

}  // namespace blockwise
