#include "experiments/commands/command_line.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/error.hpp"
#include "experiments/config/spelling.hpp"

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

std::string problem_of_assignment(const std::string& word) {
  const auto equals = word.find('=');
  if (equals != std::string::npos && equals > 0) return "";
  const auto key = word.substr(0, word.find_first_of(": ="));
  return fmt::format("{}: the form is key=value, in one word: --set {}=VALUE", word,
                     key.empty() ? "KEY" : key);
}

}  // namespace

bool parse_command_line(CLI::App& program, int argc, char** argv) {
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
  return false;
}

void add_set_option(CLI::App& verb, std::vector<std::string>& assignments) {
  verb.add_option("--set", assignments, "key=value over the file; may be repeated")
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::Validator([](const std::string& word) { return problem_of_assignment(word); },
                             "KEY=VALUE"));
}

}  // namespace blockwise
