#include "experiments/cluster/job_script.hpp"

#include <fmt/ranges.h>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/terminal/shell_word.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// A word of a line #SBATCH.
std::string sbatch_word(const std::string& text) {
  std::string word = "\"";
  for (const char c : text) {
    if (c == '"') word += '\\';
    word += c;
  }
  return word + '"';
}

// Of a file's name in which Slurm replaces %A and the like.
std::string pattern_of(const fs::path& folder) {
  const auto text = folder.string();
  require_input(printable(text) == text && text.find('\\') == std::string::npos,
                "{}: Slurm takes no folder with such a name", text);
  std::string pattern;
  for (const char c : text) pattern += c == '%' ? std::string("%%") : std::string(1, c);
  return pattern;
}

std::string array_range(const JobArray& array) {
  const auto bound = array.at_once > 0 ? fmt::format("%{}", array.at_once) : "";
  return fmt::format("0-{}{}", array.members.size() - 1, bound);
}

std::vector<std::string> sbatch_options(const JobArray& array) {
  const auto& options = array.options;
  std::vector<std::string> lines = {
      "--job-name=" + sbatch_word(array.name),
      "--array=" + array_range(array),
      "--output=" + sbatch_word(pattern_of(slurm_folder(array.folder)) + "/%A_%a.log"),
      "--open-mode=append",
      "--requeue",
      fmt::format("--signal=B:USR1@{}", options.stop_seconds),
      fmt::format("--cpus-per-task={}", options.cpus)};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) lines.push_back(fmt::format("--{}={}", name, value));
  };
  add("partition", options.partition);
  add("account", options.account);
  add("time", options.time);
  add("mem", options.memory);
  add("gres", options.gres);
  lines.insert(lines.end(), options.options.begin(), options.options.end());
  return lines;
}

std::string command_of(const JobArray& array) {
  return fmt::format(
      "exec {} sweep {} --member \"${{members[SLURM_ARRAY_TASK_ID]}}\" --lease {} --requeue",
      shell_word(array.program), shell_word(array.folder.string()), array.lease.count());
}

}  // namespace

fs::path slurm_folder(const fs::path& sweep) { return sweep / "slurm"; }

std::string job_script(const JobArray& array) {
  std::string text = "#!/bin/bash\n";
  for (const auto& option : sbatch_options(array)) text += "#SBATCH " + option + "\n";
  text +=
      "# A task is a member of the sweep. SIGUSR1, which Slurm sends before the time limit, lets\n"
      "# it leave a checkpoint and puts the task back into the queue, where it goes on.\n"
      "members=(\n";
  for (const auto& member : array.members) text += "  " + shell_word(member) + "\n";
  text += fmt::format(")\ncd {} || exit 1\n", shell_word(array.directory.string()));
  text += fmt::format("export OMP_NUM_THREADS={}\n", array.options.cpus);
  for (const auto& line : array.options.setup) text += line + "\n";
  return text + command_of(array) + "\n";
}

}  // namespace blockwise
