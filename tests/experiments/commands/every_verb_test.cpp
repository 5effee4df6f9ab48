// Every verb of the program where its output fails, and where a name that it is given, or that it
// meets in a folder, leads nowhere. A new verb gets a line in `uses()`.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/safetensors.hpp"
#include "experiments/commands/command.hpp"
#include "experiments/records/checkpoint.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

void check_no_foreign_words(const ProgramResult& result) {
  for (const auto* foreign : {"filesystem error", "Traceback", "what():", "terminate called"}) {
    CHECK_THAT(result.output + result.errors, !Contains(foreign));
  }
}

// The last words are ours: one sentence, no library's.
void check_one_sentence(const ProgramResult& result, const std::set<int>& codes) {
  INFO(result.errors);
  CHECK(codes.contains(result.exit_code));
  const auto at = result.errors.rfind("blockwise: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::ranges::count(result.errors.substr(at), '\n') == 1);
  check_no_foreign_words(result);
}

// A finished run of four steps, a finished sweep of one member, and a text.
struct Inputs : SmallRunFolder {
  Inputs() : SmallRunFolder(4) {
    write_file_atomically(folder / "sweep.yaml",
                          small_run_yaml(folder.path(), 4) + "sweep: {seeds: [1]}\n");
    write_file_atomically(folder / "text.txt", "Something to read. And more of it.");
    write_safetensors(folder / "recorded.safetensors",
                      {{"param/w", at::ones({2, 2})}, {"grad/1/w", at::ones({2, 2})}});
    REQUIRE(run({"train"}).exit_code == 0);
  }
  std::string at(const std::string& name) const { return (folder / name).string(); }
  Words sweep() const { return {"sweep", at("sweep.yaml"), "--output", at("swept")}; }
};

// In a fork of this process, which has the libraries in its memory: a start of the program costs
// more than most of what is tried here. Not for a sweep that starts members: it starts itself.
ProgramResult here(const Words& words, const std::string& output = "") {
  const TemporaryFolder folder;
  const auto out = output.empty() ? (folder / "out").string() : output;
  const auto err = (folder / "err").string();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    auto copy = words;
    copy.insert(copy.begin(), "blockwise");
    std::vector<char*> pointers;
    for (auto& word : copy) pointers.push_back(word.data());
    const int code = blockwise::run_program(static_cast<int>(pointers.size()), pointers.data());
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), 0.0,
          output.empty() ? read_text_file(out) : "", read_text_file(err)};
}

struct Use {
  Words words;         // does something, and prints
  Words inputs;        // those of the words that are names of what is read
  std::string output;  // the option that names the folder to write; empty where there is none
  bool prints = true;  // on standard output
};

std::vector<Use> uses(const Inputs& in) {
  const auto run = in.at("run"), tokens = in.at("validation.bin"), text = in.at("text.txt");
  return {
      {{"train", in.config}, {in.config}, "--output"},
      {{"train", in.config, "--dry-run"}, {}, ""},
      {in.sweep(), {in.at("sweep.yaml")}, "--output"},
      {{"sweep", in.at("swept"), "--member", "run-s1"}, {in.at("swept")}, ""},
      {{"report", run}, {run}, ""},
      {{"report", run, "--json"}, {}, ""},
      {{"curves", run}, {run}, ""},
      {{"curves", run, "--tensorboard"}, {run}, "--output", false},
      {{"data", "--train", text, "--validation-fraction", "0.5", "--output", in.at("tokens")},
       {text},
       "--output"},
      {{"plan", in.config}, {in.config}, ""},
      {{"eval", "--model", run, "--tokens", tokens, "--sequence-length", "16"}, {run, tokens}, ""},
      {{"generate", "--model", run, "--prompt", "123", "--tokens", "5"}, {run}, ""},
      {{"export", "--model", run, "--output", in.at("exported")}, {run}, "--output"},
      {{"spectrum", in.config, "--set", "hessian.lanczos.steps=2", "--no-figure"},
       {in.config},
       "--output"},
      {{"partition", in.config, "--objective", "signal_to_noise"}, {in.config}, "--output"},
      {{"search-lr", in.config, "--set", "optimizer.rule=blockwise_sgd", "--set",
        "search_lr.samples=1", "--method", "curvature"},
       {in.config},
       "--output"},
      {{"replay", in.at("recorded.safetensors"), "--rule", "adamw", "--set", "learning_rate=1e-3",
        "--output", in.at("replayed.safetensors")},
       {in.at("recorded.safetensors")},
       ""},
      {{"bench", "--profile", in.config, "--steps", "1"}, {in.config}, ""},
      {{"list"}, {}, ""},
      {{}, {}, ""},
      {{"--help"}, {}, ""},
      {{"--version"}, {}, ""}};
}

Words replaced(Words words, const std::string& word, const std::string& by) {
  std::ranges::replace(words, word, by);
  return words;
}

Words with_output(Words words, const std::string& option, const std::string& path) {
  const auto given = std::ranges::find(words, option);
  if (given == words.end()) {
    words.insert(words.end(), {option, path});
  } else {
    given[1] = path;
  }
  return words;
}

std::string name_of(const Use& use) {
  return use.words.empty() ? "no verb" : fmt::format("{}", fmt::join(use.words, " "));
}

struct BadPath {
  std::string name;
  fs::path path;
};

std::vector<BadPath> bad_paths(const fs::path& folder) {
  write_file_atomically(folder / "plain", "in the way");
  fs::create_symlink(folder / "loop", folder / "loop");
  return {{"loop of links", folder / "loop"},
          {"below a loop", folder / "loop/below"},
          {"long name", folder / std::string(300, 'x')},
          {"below a plain file", folder / "plain/below"}};
}

}  // namespace

TEST_CASE("Every verb is tried where its output or a name is bad") {
  const Inputs in;
  std::set<std::string> tried;
  for (const auto& use : uses(in)) {
    if (!use.words.empty()) tried.insert(use.words[0]);
  }
  for (const auto& verb : verbs()) {
    INFO(verb.name);
    CHECK(tried.contains(verb.name));
  }
}

TEST_CASE("Every verb: standard output on a full disk is an error") {
  const Inputs in;
  REQUIRE(run_program(in.sweep()).exit_code == 0);  // from here on it says that all is done
  for (const auto& use : uses(in)) {
    if (!use.prints) continue;
    INFO(name_of(use));
    // What it did is done; it is what it says that gets lost.
    const auto result = here(use.words, "/dev/full");
    check_one_sentence(result, {1});
    CHECK_THAT(result.errors,
               Contains("standard output: cannot be written: No space left on device"));
  }
}

TEST_CASE("Every verb: a file where a folder is to be is named, and stays") {
  const Inputs in;
  write_file_atomically(in.folder / "file", "in the way");
  for (const auto& output : {in.at("file"), in.at("file/below")}) {
    for (const auto& use : uses(in)) {
      if (use.output.empty()) continue;
      INFO(name_of(use) << " to " << output);
      const auto result = here(with_output(use.words, use.output, output));
      check_one_sentence(result, {1, 2});
      CHECK_THAT(result.errors, Contains(in.at("file")));
    }
  }
  CHECK(read_text_file(in.folder / "file") == "in the way");
}

TEST_CASE("Every verb: a name that leads nowhere is bad input, in our words") {
  const Inputs in;
  for (const auto& bad : bad_paths(in.folder.path())) {
    for (const auto& use : uses(in)) {
      for (const auto& input : use.inputs) {
        INFO(name_of(use) << ": " << bad.name << " for " << input);
        const auto result = here(replaced(use.words, input, bad.path.string()));
        check_one_sentence(result, {2});
        CHECK_THAT(result.errors, Contains(bad.path.string()));
      }
    }
  }
}

TEST_CASE("Every verb: a folder that cannot be made is named") {
  const Inputs in;
  for (const auto& bad : bad_paths(in.folder.path())) {
    if (bad.name == "below a plain file") continue;  // another test's
    for (const auto& use : uses(in)) {
      if (use.output.empty()) continue;
      INFO(name_of(use) << ": " << bad.name);
      const auto result = here(with_output(use.words, use.output, bad.path.string()));
      check_one_sentence(result, {1, 2});
      CHECK_THAT(result.errors, Contains(bad.path.string()));
    }
  }
}

// What a file of the folder's is a loop of links: named, or left out of a report, or written anew.
TEST_CASE("A loop of links in the place of any file of a run or a sweep is met in our words") {
  const Inputs in;
  REQUIRE(run_program(in.sweep()).exit_code == 0);
  const auto run = in.at("run"), swept = in.at("swept"), tokens = in.at("validation.bin");
  const auto step = fs::relative(checkpoint_folder(run, 4), in.folder.path()).string();
  const std::vector<Words> of_run = {
      {"train", in.config}, {"report", run}, {"curves", run}, {"eval", "--model", run}};
  const std::vector<Words> of_sweep = {in.sweep(), {"report", swept}, {"curves", swept}};
  const std::vector<std::pair<std::string, std::vector<Words>>> places = {
      {"run/run.h5", of_run},
      {"run/config.yaml", of_run},
      {"run/checkpoints", of_run},
      {step, of_run},
      {step + "/checkpoint.json", of_run},
      {"swept/manifest.json", of_sweep},
      {"swept/index.h5", of_sweep},
      {"swept/members/run-s1", of_sweep},
      {"swept/members/run-s1/run.h5", of_sweep},
      {"swept/members/run-s1/config.yaml", of_sweep}};
  for (const auto& [name, verbs] : places) {
    const auto place = in.folder / name, aside = in.folder / "aside";
    REQUIRE(fs::exists(place));
    for (const auto& words : verbs) {
      INFO(fmt::format("{} is a loop: {}", name, fmt::join(words, " ")));
      fs::rename(place, aside);
      fs::create_symlink(place, place);
      const auto result = words[0] == "sweep" ? run_program(words) : here(words);
      fs::remove_all(place);
      fs::rename(aside, place);
      INFO(result.output << result.errors);
      // A member that fails has a line of its own, and the others go on.
      const bool of_member = words[0] == "sweep" && result.exit_code == 1;
      if (result.exit_code != 0 && !of_member) check_one_sentence(result, {1, 2});
      if (result.exit_code != 0) CHECK_THAT(result.errors, Contains(name));
      check_no_foreign_words(result);
    }
  }
}

TEST_CASE("A report goes on over a member whose file cannot be looked at, and names it") {
  const Inputs in;
  REQUIRE(run_program(in.sweep()).exit_code == 0);
  const auto run = in.folder / "swept/members/run-s1/run.h5";
  fs::remove(run);
  fs::create_symlink(run, run);
  const auto result = here({"report", in.at("swept")});
  INFO(result.output << result.errors);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.output + result.errors, Contains("counted as failed: " + run.string() +
                                                     ": Too many levels of symbolic links"));
}

TEST_CASE(
    "Every verb: started several times by a launcher it shares its work, answers, or says no") {
  const Inputs in;
  const std::set<std::string> shares = {"train", "spectrum", "partition", "search-lr"};
  const std::set<std::string> answers = {"list", "plan", "report", "curves"};
  const std::set<std::string> by_claims = {"sweep"};  // whose members are no ranks
  struct Launched {
    Launched() {
      ::setenv("RANK", "1", 1);
      ::setenv("WORLD_SIZE", "2", 1);
      ::setenv("LOCAL_WORLD_SIZE", "2", 1);
    }
    ~Launched() {
      ::unsetenv("RANK");
      ::unsetenv("WORLD_SIZE");
      ::unsetenv("LOCAL_WORLD_SIZE");
    }
  };
  for (const auto& use : uses(in)) {
    if (use.words.empty() || use.words[0].starts_with("--") || shares.contains(use.words[0])) {
      continue;
    }
    INFO(name_of(use));
    const Launched launched;
    const auto result = here(use.words);
    if (answers.contains(use.words[0]) || by_claims.contains(use.words[0])) {
      CHECK_THAT(result.errors, !Contains("launcher"));
      continue;
    }
    check_one_sentence(result, {2});
    CHECK_THAT(result.errors, Contains("a launcher started 2 processes of this verb"));
  }
  const Launched launched;
  const auto confirmed = here({"report", in.at("swept"), "--confirm"});
  check_one_sentence(confirmed, {2});
  CHECK_THAT(confirmed.errors, Contains("a launcher started 2 processes of this verb"));
}
