#include "experiments/command_line/command_line.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "core/base/error.hpp"
#include "experiments/command_line/help_format.hpp"
#include "experiments/config/spelling.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/records/program_version.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

bool is_flag(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

std::vector<std::string> verb_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const auto* verb : program.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    if (option->nonpositional()) names.push_back(option->get_name());
  }
  return names;
}

void require_known(const std::string& word, const char* kind, const std::vector<std::string>& known,
                   const std::string& more) {
  for (const auto& name : known) {
    if (name == word) return;
  }
  const auto meant = did_you_mean(word, known);
  const auto rest = meant.empty() ? fmt::format("; {}: {}", more, fmt::join(known, ", ")) : meant;
  throw InputError(fmt::format("there is no {} '{}'{}", kind, word, rest));
}

// The program's own words: a flag, or the verb.
void check_first_word(const CLI::App& program, const std::string& word) {
  if (!is_flag(word)) return require_known(word, "verb", verb_names(program), "verbs");
  auto flags = flag_names(program);
  flags.emplace_back("-h");
  require_known(word, "flag", flags, "before a verb there are");
}

const CLI::App* parsed_verb(const CLI::App& program) {
  const auto verbs = program.get_subcommands();
  return verbs.empty() ? nullptr : verbs.front();
}

[[noreturn]] void refuse_extra_words(const CLI::App& verb, const std::string& word) {
  const auto name = word.substr(0, word.find('='));
  if (is_flag(word)) {
    throw InputError(fmt::format("{}: there is no flag '{}'{}", verb.get_name(), name,
                                 did_you_mean(name, flag_names(verb))));
  }
  throw InputError(
      fmt::format("{0}: '{1}' is one word too many; `blockwise {0} --help` shows what it takes",
                  verb.get_name(), word));
}

[[noreturn]] void refuse(const CLI::App& program, const CLI::ParseError& error) {
  const auto* verb = parsed_verb(program);
  if (verb == nullptr) throw InputError(error.what());
  const auto extra = verb->remaining();
  const bool unexpected = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  // A misspelt flag is the reason why something that is required seems to be missing, too.
  for (const auto& word : extra) {
    if (is_flag(word) || (unexpected && word == extra.back())) refuse_extra_words(*verb, word);
  }
  throw InputError(fmt::format("{0}: {1}; `blockwise {0} --help` shows what it takes",
                               verb->get_name(), error.what()));
}

// What a shell makes of a variable that is not set, for example; as an option's value it would read
// like the option's absence.
void refuse_empty_words(const CLI::App& verb) {
  for (const auto* option : verb.get_options()) {
    if (option->get_expected_min() == 0 || std::ranges::count(option->results(), "") == 0) continue;
    throw InputError(fmt::format("{0}: {1} is empty; `blockwise {0} --help` shows what it takes",
                                 verb.get_name(), option->get_name()));
  }
}

// Whether what is asked for is printed already; else the verbs' options hold what was said.
bool is_answered(CLI::App& program, int argc, char** argv) {
  if (argc < 2) {
    fmt::print("{}", program.help());
    return true;
  }
  check_first_word(program, argv[1]);
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", program.help());
    return true;
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return true;
  } catch (const CLI::ParseError& error) {
    refuse(program, error);
  }
  if (const auto* verb = parsed_verb(program)) refuse_empty_words(*verb);
  return false;
}

void add_verb(CLI::App& program, Verb& verb) {
  auto* app = program.add_subcommand(verb.name, verb.doc);
  app->footer("Example:\n" + wrapped_command("  " + verb.example, columns_of(STDOUT_FILENO)));
  verb.add_options(*app, verb.options);
}

}  // namespace

std::optional<VerbOptions> read_command_line(int argc, char** argv) {
  CLI::App program("blockwise: memory-efficient training and Hessian analysis", "blockwise");
  program.require_subcommand(1);
  program.formatter(std::make_shared<HelpFormat>(columns_of(STDOUT_FILENO)));
  program.set_version_flag("--version", program_version());
  program.footer(
      exit_code_help() +
      "\n`blockwise VERB --help` shows a verb's options and an example.\n"
      "Lines are as wide as the terminal, or as COLUMNS says; in a file or pipe tables are whole.");
  auto all = verbs();
  for (auto& verb : all) add_verb(program, verb);
  if (is_answered(program, argc, argv)) return std::nullopt;
  const auto name = parsed_verb(program)->get_name();
  return std::ranges::find(all, name, &Verb::name)->options;
}

}  // namespace blockwise
