#include "experiments/config/slurm_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "core/text/printable_text.hpp"

namespace blockwise {
namespace {

// Slurm's own: a signal that is due before the limit.
constexpr IntegerBounds kStopSeconds = {1, 65'535};
constexpr IntegerBounds kCpus = {1, 65'535};

// What the launcher or another key says; twice, the last would count.
struct OwnOption {
  std::string_view name;
  std::string_view letter;  // "" where it has none
  std::string_view says;
};
constexpr std::array<OwnOption, 14> kOwnOptions = {
    {{"array", "a", "the launcher's: a member is a task of it"},
     {"signal", "", "sweep.slurm.stop_seconds"},
     {"requeue", "", "the launcher's"},
     {"no-requeue", "", "the launcher's, which queues interrupted members again"},
     {"output", "o", "the launcher's: the sweep's folder has the logs"},
     {"error", "e", "the launcher's: the sweep's folder has the logs"},
     {"job-name", "J", "the sweep's name"},
     {"chdir", "D", "the launcher's: the folder where it is called"},
     {"partition", "p", "sweep.slurm.partition"},
     {"account", "A", "sweep.slurm.account"},
     {"time", "t", "sweep.slurm.time"},
     {"cpus-per-task", "c", "sweep.slurm.cpus"},
     {"mem", "", "sweep.slurm.memory"},
     {"gres", "", "sweep.slurm.gres"}}};

// The words stand in a line of the script as they are.
std::string word_problem(const std::string& word) {
  const bool plain = std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("_-./:,+@%=*()[]&|!").find(char(c)) != std::string::npos;
  });
  return plain ? "" : fmt::format("'{}' is not one plain word", printable(word));
}

bool is_digits(std::string_view text) {
  constexpr std::size_t kMost = 9;
  return !text.empty() && text.size() <= kMost &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// One to three numbers with colons between them.
bool is_clock(std::string_view text) {
  for (int numbers = 1; numbers <= 3; ++numbers) {
    const auto end = std::min(text.find(':'), text.size());
    if (!is_digits(text.substr(0, end))) return false;
    if (end == text.size()) return true;
    text.remove_prefix(end + 1);
  }
  return false;
}

// sbatch's six ways to write a time.
std::string time_problem(const std::string& time) {
  const auto days = time.find('-');
  const bool has_days = days != std::string::npos;
  const bool good = is_clock(has_days ? time.substr(days + 1) : time) &&
                    (!has_days || is_digits(time.substr(0, days)));
  if (time.empty() || good) return "";
  return fmt::format(
      "'{}' is no time limit of Slurm's: MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, "
      "DAYS-HOURS, DAYS-HOURS:MINUTES or DAYS-HOURS:MINUTES:SECONDS",
      printable(time));
}

bool names(const std::string& option, const OwnOption& own) {
  if (!own.letter.empty() && option.starts_with(fmt::format("-{}", own.letter))) return true;
  const auto name = option.substr(0, option.find_first_of("= "));
  return name == fmt::format("--{}", own.name);
}

std::string option_problem(const std::string& option) {
  const bool is_option = option.size() > 1 && option.front() == '-';
  if (!is_option || printable(option) != option) {
    return fmt::format("'{}' is no option of sbatch, like --qos=long", printable(option));
  }
  const auto own =
      std::ranges::find_if(kOwnOptions, [&](const auto& o) { return names(option, o); });
  if (own == kOwnOptions.end()) return "";
  return fmt::format("'{}': --{} is {}", option, own->name, own->says);
}

template <typename Problem>
std::string first_problem(const std::vector<std::string>& texts, Problem problem) {
  for (const auto& text : texts) {
    if (auto why = problem(text); !why.empty()) return why;
  }
  return "";
}

std::string line_problem(const std::string& line) {
  return printable(line) == line ? "" : fmt::format("'{}' is not one line", printable(line));
}

}  // namespace

void SlurmOptions::visit(FieldVisitor& v) {
  v.text({"partition", "whose nodes run the members; the cluster's default when left out"},
         partition);
  v.text({"account", "that pays for them"}, account);
  v.text({"time",
          "limit of a member, as sbatch takes it: 04:00:00; a longer one goes on as a new job"},
         time);
  v.integer({"cpus", "of a member, which runs as many threads"}, cpus, kCpus);
  v.text({"memory", "of a member's node, as sbatch --mem takes it: 8G"}, memory);
  v.text({"gres", "as sbatch --gres takes it: gpu:1"}, gres);
  v.integer({"stop_seconds", "before the limit, when a member is told to leave a checkpoint"},
            stop_seconds, kStopSeconds);
  v.text_list({"options", "further options of sbatch, like --qos=long"}, options);
  v.text_list({"setup", "lines of shell before the program, like module load cuda"}, setup);
  const std::array<std::pair<const char*, const std::string*>, 4> words = {
      {{"partition", &partition}, {"account", &account}, {"memory", &memory}, {"gres", &gres}}};
  for (const auto& [field, text] : words) v.check(field, word_problem(*text));
  v.check("time", time_problem(time));
  v.check("options", first_problem(options, option_problem));
  v.check("setup", first_problem(setup, line_problem));
}

}  // namespace blockwise
