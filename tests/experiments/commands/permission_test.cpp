// Permission denied, for whatever a verb reads or writes.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

// Starts the program as somebody who is held by permissions: the superuser is not.
std::string as_nobody() {
  return ::geteuid() == 0 ? "setpriv --reuid 65534 --regid 65534 --clear-groups" : "";
}

// The checkout may lie where nobody else comes, and setpriv is not everywhere.
bool can_be_tried() {
  if (run_program({"--version"}, as_nobody()).exit_code == 0) return true;
  WARN("skipped: the program cannot be started as another user than root");
  return false;
}

// A run that was stopped at step 6 of 8; everybody may do everything with its files.
class SharedRun {
 public:
  SharedRun() : small_(8) {
    write_file_atomically(small_.folder / "prompt.txt", "Something to read. And more.\n\nMore.");
    write_file_atomically(small_.folder / "sweep.yaml",
                          small_run_yaml(small_.folder.path(), 8) + "sweep: {seeds: [1, 2]}\n");
    REQUIRE(small_.run({"train"}).exit_code == 0);
    stop_at_six();
    give(small_.folder.path());
    for (const auto& entry : fs::recursive_directory_iterator(small_.folder.path())) {
      give(entry.path());
    }
  }
  ~SharedRun() { give(small_.folder.path()); }
  SharedRun(const SharedRun&) = delete;
  SharedRun& operator=(const SharedRun&) = delete;

  fs::path path(const std::string& name) const { return small_.folder / name; }
  const std::string& config() const { return small_.config; }

  // To everybody, all rights.
  static void give(const fs::path& path) { fs::permissions(path, fs::perms::all); }
  // Read and enter, no more.
  static void close(const fs::path& path) {
    give(path);
    fs::permissions(path, fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write,
                    fs::perm_options::remove);
  }

 private:
  void stop_at_six() {
    const auto run = path("run");
    fs::remove_all(checkpoint_folder(run, 8));
    auto recorder = RunRecorder::resume(run / "run.h5", read_run(run / "run.h5").config_hash, 6);
    recorder.set_status(RunState::interrupted, "by the test", 6);
    recorder.close();
  }

  SmallRunFolder small_;
};

void check_denied(const std::vector<std::string>& words, const fs::path& named, bool is_input) {
  const auto result = run_program(words, as_nobody());
  INFO(fmt::format("{}, {}: ", words[0], named.string()) << result.errors);
  CHECK(result.exit_code == (is_input ? 2 : 1));
  // Progress may stand before it.
  const auto at = result.errors.rfind("blockwise: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::ranges::count(result.errors.substr(at), '\n') == 1);
  CHECK_THAT(result.errors, Contains("Permission denied") && Contains(named.string()));
  CHECK(result.errors.find("filesystem error") == std::string::npos);
}

using Words = std::vector<std::string>;

Words prepare_tokens(const SharedRun& run, const std::string& output) {
  return {"data",     "--train", run.path("prompt.txt").string(), "--validation-fraction", "0.5",
          "--output", output};
}

// Python, too, may lie where nobody else comes.
bool data_can_be_tried(const SharedRun& run) {
  const auto words = prepare_tokens(run, run.path("tokens").string());
  return run_program(words, as_nobody()).exit_code == 0;
}

struct ReadFile {
  std::string name;
  std::vector<Words> verbs;
};

std::vector<ReadFile> read_files(const SharedRun& run) {
  const auto at = [&](const std::string& name) { return run.path(name).string(); };
  const auto checkpoint = fs::relative(checkpoint_folder(at("run"), 6), run.path("")).string();
  const Words eval = {"eval",          "--model",           at("run"), "--tokens",
                      at("train.bin"), "--sequence-length", "16"};
  const Words generate = {"generate", "--model", at("run"), "--prompt", "123"};
  const Words export_run = {"export", "--model", at("run"), "--output", at("exported")};
  const Words plan = {"plan", run.config()};
  const Words train = {"train", run.config()};
  const Words fresh = {"train", run.config(), "--output", at("fresh")};
  const Words spectrum = {"spectrum", run.config(), "--output", at("fresh"), "--no-figure"};
  const Words partition = {"partition", run.config(), "--output", at("fresh")};
  const Words of_run = {"spectrum", "--model", at("run"), "--output", at("of-run"), "--no-figure"};
  return {{"run.yaml", {plan, fresh}},
          {"train.bin", {fresh, spectrum, partition, eval}},
          {"manifest.json", {fresh}},
          {"run/config.yaml", {of_run}},
          {checkpoint + "/parameters.safetensors", {eval}},
          {checkpoint + "/optimizer.safetensors", {train}},
          {checkpoint + "/checkpoint.json", {eval, generate, export_run, train}},
          {"prompt.txt", {prepare_tokens(run, at("more"))}}};
}

std::vector<Words> writing_verbs(const SharedRun& run, const std::string& output) {
  return {{"train", run.config(), "--output", output},
          {"sweep", run.path("sweep.yaml").string(), "--set", "output=" + output},
          {"spectrum", run.config(), "--output", output, "--no-figure", "--set",
           "hessian.lanczos.steps=2"},
          {"partition", run.config(), "--output", output},
          {"search-lr", run.config(), "--set", "optimizer.rule=blockwise_sgd", "--method",
           "curvature", "--output", output},
          {"export", "--model", run.path("run").string(), "--output", output},
          {"sweep", run.path("sweep.yaml").string(), "--output", output},
          {"curves", run.path("run").string(), "--output", output + "/curves.csv"},
          {"curves", run.path("run").string(), "--tensorboard", "--output", output},
          prepare_tokens(run, output)};
}

// With what is below `folder`, a copy of the run and its data.
std::vector<Words> reading_verbs(const std::string& folder) {
  const auto config = folder + "/run.yaml", run = folder + "/run", data = folder + "/train.bin";
  return {{"train", config},
          {"sweep", config},
          {"plan", config},
          {"report", run},
          {"curves", run},
          {"eval", "--model", run, "--tokens", data},
          {"generate", "--model", run, "--prompt", "123"},
          {"export", "--model", run, "--output", "exported"},
          {"spectrum", config, "--no-figure"},
          {"partition", config},
          {"search-lr", config},
          {"data", "--train", folder + "/prompt.txt", "--validation-fraction", "0.5", "--output",
           "tokens"}};
}

}  // namespace

TEST_CASE("Inputs that may not be read are named by every verb, with code 2") {
  if (!can_be_tried()) return;
  const SharedRun run;
  const bool with_data = data_can_be_tried(run);
  for (const auto& file : read_files(run)) {
    if (file.name == "prompt.txt" && !with_data) continue;
    const auto path = run.path(file.name);
    REQUIRE(fs::is_regular_file(path));
    fs::permissions(path, fs::perms::none);
    for (const auto& words : file.verbs) check_denied(words, path, true);
    SharedRun::give(path);
  }
}

TEST_CASE("Folders that may not be entered are named by every verb, with code 2") {
  if (!can_be_tried()) return;
  const SharedRun run;
  const bool with_data = data_can_be_tried(run);
  const auto closed = run.path("closed");
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::none);
  for (const auto& words : reading_verbs(closed.string())) {
    if (words[0] != "data" || with_data) check_denied(words, closed, true);
  }
  SharedRun::give(closed);
}

TEST_CASE("Folders that may not be written are named by every verb, with code 1") {
  if (!can_be_tried()) return;
  const SharedRun run;
  const bool with_data = data_can_be_tried(run);
  const auto closed = run.path("closed");
  fs::create_directory(closed);
  SharedRun::close(closed);
  for (const auto& output : {closed, closed / "below"}) {
    for (const auto& words : writing_verbs(run, output.string())) {
      if (words[0] != "data" || with_data) check_denied(words, closed, false);
    }
  }
  CHECK(fs::is_empty(closed));
  SharedRun::give(closed);
}

TEST_CASE("A run whose folder became read-only is not continued, and stays as it was") {
  if (!can_be_tried()) return;
  const SharedRun run;
  const auto folder = run.path("run");
  const auto before = read_text_file(folder / "run.h5");
  SharedRun::close(folder);
  check_denied({"train", run.config()}, folder, false);
  SharedRun::give(folder);
  CHECK(read_text_file(folder / "run.h5") == before);
  CHECK(run_program({"train", run.config()}, as_nobody()).exit_code == 0);
}

TEST_CASE("A report names the run that it may not read, and counts it as failed") {
  if (!can_be_tried()) return;
  const SharedRun run;
  fs::permissions(run.path("run/run.h5"), fs::perms::none);
  const auto result = run_program({"report", run.path("run").string()}, as_nobody());
  INFO(result.output << result.errors);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.output + result.errors,
             Contains("counted as failed") && Contains("run.h5: Permission denied"));
}
