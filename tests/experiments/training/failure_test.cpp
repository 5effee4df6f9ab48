// Bad input and broken surroundings, as a user meets them: one clear sentence, the right exit code,
// and nothing that was written is lost.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/partial_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

struct Prepared : SmallRunFolder {
  explicit Prepared(std::int64_t steps = 12) : SmallRunFolder(steps) {}
  ProgramResult train(std::vector<std::string> more = {}, const std::string& prefix = "") const {
    more.insert(more.begin(), "train");
    return run(more, prefix);
  }
  // Runs 12 steps, then asks for more, so that a resume has something to do.
  void stop_half_way() const {
    const auto result = train();
    REQUIRE(result.exit_code == 0);
    fs::remove_all(checkpoint_folder(folder / "run", 12));
    fs::remove_all(checkpoint_folder(folder / "run", 9));
    auto recorder =
        RunRecorder::resume(folder / "run/run.h5", read_run(folder / "run/run.h5").config_hash, 6);
    recorder.set_status(RunState::interrupted, "by the test", 6);
    recorder.close();
  }
};

void overwrite(const fs::path& path, std::streamoff at, const std::string& bytes) {
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(at);
  stream << bytes;
}

// One line, from the program, without a stack of causes.
void check_one_line(const std::string& errors) {
  CHECK(errors.starts_with("blockwise: "));
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("A wrong YAML ends with exit code 2 and its place") {
  const Prepared p;
  const auto result = p.train({"--set", "optimizer.lerning_rate=1"});
  CHECK(result.exit_code == 2);
  check_one_line(result.errors);
  CHECK_THAT(result.errors, Contains("did you mean 'learning_rate'?"));
  CHECK(!fs::exists(p.folder / "run"));
  CHECK(run_program({"train", "no-such.yaml"}).exit_code == 2);
  CHECK(run_program({"trian", p.config}).exit_code == 2);
}

TEST_CASE("Damaged token files are named") {
  const Prepared p;
  SECTION("a shard of the wrong length") {
    fs::resize_file(p.folder / "train.bin", 5000);
    const auto result = p.train();
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors,
               Contains("train.bin: the header says 6000 tokens, so 13024 bytes; the "
                        "file has 5000"));
  }
  SECTION("a token above the vocabulary") {
    overwrite(p.folder / "train.bin", 1024 + 2 * 100, std::string("\xff\x00", 2));
    const auto result = p.train();
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors,
               Contains("train.bin: token 255 at position 100, the vocabulary has 64"));
  }
  SECTION("missing") {
    fs::remove(p.folder / "validation.bin");
    const auto result = p.train();
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains("make corpus"));
  }
}

TEST_CASE("A damaged checkpoint is refused, names its file and leaves the run file alone") {
  const Prepared p;
  p.stop_half_way();
  const auto file = checkpoint_folder(p.folder / "run", 6) / "parameters.safetensors";
  REQUIRE(fs::exists(file));
  const auto rows = read_run(p.folder / "run/run.h5").steps.size();
  SECTION("truncated") {
    REQUIRE(fs::file_size(file) > 1000);
    fs::resize_file(file, fs::file_size(file) / 2);
  }
  SECTION("a flipped byte") {
    REQUIRE(fs::file_size(file) > 1000);
    overwrite(file, static_cast<std::streamoff>(fs::file_size(file)) - 5, "\x7f");
  }
  SECTION("a marker that is no JSON") {
    REQUIRE(fs::exists(checkpoint_folder(p.folder / "run", 6) / "checkpoint.json"));
    write_file_atomically(checkpoint_folder(p.folder / "run", 6) / "checkpoint.json", "{");
  }
  const auto result = p.train();
  CHECK(result.exit_code == 2);
  check_one_line(result.errors);
  CHECK_THAT(result.errors, Contains("step_00000006") && Contains("damaged"));
  CHECK(read_run(p.folder / "run/run.h5").steps.size() == rows);
}

TEST_CASE("What a killed process left of removing checkpoints goes when the run goes on") {
  const Prepared p;
  REQUIRE(p.train().exit_code == 0);
  const auto run = p.folder / "run";
  auto recorder = RunRecorder::resume(run / "run.h5", read_run(run / "run.h5").config_hash, 12);
  recorder.set_status(RunState::interrupted, "by the test", 12);
  recorder.close();
  fs::create_directories(partial_path(checkpoint_folder(run, 1)));
  write_file_atomically(partial_path(checkpoint_folder(run, 1)) / "optimizer.safetensors", "x");
  REQUIRE(checkpoint_steps(run).size() == 4);
  CHECK(p.train({"--set", "trainer.keep_checkpoints=2"}).exit_code == 0);
  CHECK(checkpoint_steps(run) == std::vector<std::int64_t>{9, 12});
  const auto folders = fs::directory_iterator(run / "checkpoints");
  CHECK(std::distance(fs::begin(folders), fs::end(folders)) == 2);
}

TEST_CASE("A checkpoint's marker that lacks something is damaged, and says what it lacks") {
  const Prepared p;
  p.stop_half_way();
  const auto path = checkpoint_folder(p.folder / "run", 6) / "checkpoint.json";
  const auto whole = nlohmann::ordered_json::parse(read_text_file(path));
  const auto error_of = [&](const nlohmann::ordered_json& marker) {
    write_file_atomically(path, marker.dump());
    const auto result = p.train();
    CHECK(result.exit_code == 2);
    check_one_line(result.errors);
    CHECK_THAT(result.errors, Contains("step_00000006") && Contains("damaged checkpoint") &&
                                  !Contains("json.exception"));
    return result.errors;
  };
  const auto without = [&](const std::string& pointer) {
    auto marker = whole;
    const nlohmann::ordered_json::json_pointer place(pointer);
    marker[place.parent_pointer()].erase(place.back());
    return marker;
  };
  const auto with = [&](const std::string& pointer, const nlohmann::ordered_json& value) {
    auto marker = whole;
    marker[nlohmann::ordered_json::json_pointer(pointer)] = value;
    return marker;
  };
  CHECK_THAT(error_of(without("/files")), Contains("'files' is missing"));
  CHECK_THAT(error_of(without("/files/optimizer.safetensors")),
             Contains("'files.optimizer.safetensors' is missing"));
  CHECK_THAT(error_of(without("/files/parameters.safetensors/bytes")),
             Contains("'files.parameters.safetensors.bytes' is missing"));
  CHECK_THAT(error_of(without("/step")), Contains("'step' is missing"));
  CHECK_THAT(error_of(with("/step", "6")), Contains("'step' is \"6\", no whole number"));
  CHECK_THAT(error_of(with("/step", 9300000000000000000ULL)),
             Contains("'step' is 9300000000000000000, allowed are"));
  CHECK_THAT(error_of(with("/files", 3)), Contains("'files' is 3, no object"));
  CHECK_THAT(error_of(with("/config_hash", nullptr)), Contains("'config_hash' is missing"));
  CHECK_THAT(error_of(with("/version", 2)), Contains("'version' is 2, allowed are 1 to 1"));
  CHECK_THAT(error_of(nlohmann::ordered_json::array()), Contains("is a list, no object"));
  write_file_atomically(path, whole.dump());
  CHECK(p.train().exit_code == 0);
}

TEST_CASE("What a file says cannot steer the terminal") {
  const Prepared p;
  const auto result = p.train({"--set", "data.train=a\x1b]0;b\x07\xc2\x9b"});
  CHECK(result.exit_code == 2);
  check_one_line(result.errors);
  CHECK(std::ranges::none_of(result.errors.substr(0, result.errors.size() - 1), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  }));
  CHECK(result.errors.find("\xc2\x9b") == std::string::npos);
}

TEST_CASE("A name that leads out of runs/ is refused") {
  const Prepared p;
  for (const std::string name : {"..", ".", "a/b", "a\x1b[2J", "'a\u0080'", "''"}) {
    INFO(name);
    const auto result = p.train({"--set", "name=" + name, "--set", "output=''"});
    CHECK(result.exit_code == 2);
    check_one_line(result.errors);
    CHECK_THAT(result.errors, Contains("name"));
  }
}

TEST_CASE("Beside a lost or damaged run file the run goes on from its checkpoint in a new one") {
  const Prepared p;
  p.stop_half_way();
  const auto file = p.folder / "run/run.h5";
  const auto whole = read_text_file(file);
  std::string content;  // of the damaged file; empty where it is lost
  SECTION("lost") {
    REQUIRE(fs::exists(file));
    fs::remove(file);
  }
  SECTION("truncated") {
    REQUIRE(whole.size() > 1000);
    content = whole.substr(0, whole.size() / 3);
  }
  SECTION("no HDF5") {
    REQUIRE(fs::exists(file));
    content = "hello";
  }
  if (!content.empty()) write_file_atomically(file, content);
  write_file_atomically(p.folder / "run/run.damaged.h5", "of an earlier time");
  const auto result = p.train();
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.errors,
             Contains("run.h5") && Contains("goes on from its checkpoint of step 6 in a new file"));
  const auto run = read_run(file);
  CHECK(run.state == RunState::finished);
  REQUIRE(run.steps.size() == 6);
  CHECK(run.steps.front().step == 7);
  CHECK(run.processes.front().from_step == 7);
  // Nothing is deleted, also what was kept before.
  CHECK(read_text_file(p.folder / "run/run.damaged.h5") == "of an earlier time");
  const auto kept = p.folder / "run/run.damaged.2.h5";
  CHECK(fs::exists(kept) == !content.empty());
  if (!content.empty()) CHECK(read_text_file(kept) == content);
}

TEST_CASE("A damaged run file without a checkpoint is refused, and the advice leads on") {
  const Prepared p;
  REQUIRE(p.train().exit_code == 0);
  fs::remove_all(p.folder / "run/checkpoints");
  write_file_atomically(p.folder / "run/run.h5", "hello");
  const auto result = p.train();
  CHECK(result.exit_code == 2);
  check_one_line(result.errors);
  CHECK_THAT(result.errors, Contains("run.h5: not an HDF5 file") && Contains("move the file away"));
  fs::rename(p.folder / "run/run.h5", p.folder / "elsewhere.h5");
  CHECK(p.train().exit_code == 0);
  CHECK(read_run(p.folder / "run/run.h5").steps.size() == 12);
}

TEST_CASE("A folder of another configuration is not overwritten") {
  const Prepared p;
  REQUIRE(p.train().exit_code == 0);
  const auto result = p.train({"--set", "optimizer.learning_rate=0.5"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("another configuration"));
}

TEST_CASE("A tensor that is to stay float32 has to be there") {
  const Prepared p;
  const auto typo = "trainer.float32_tensors=[lm_head.wieght]";
  const auto result = p.train({"--set", "trainer.precision=bf16", "--set", typo});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("no parameter 'lm_head.wieght', did you mean "
                                     "'lm_head.weight'?"));
  const auto right = "trainer.float32_tensors=[lm_head.weight]";
  CHECK(p.train({"--set", "trainer.precision=bf16", "--set", right}).exit_code == 0);
}

TEST_CASE("A full disk ends the run with its reason and keeps the checkpoint before") {
  // Files above 40 KiB cannot be written: the run file's rows or a checkpoint of a wider model hit
  // it.
  const Prepared p(60);
  const auto result = p.train({"--set", "model.n_embd=64"}, "ulimit -f 40;");
  CHECK(result.exit_code == 1);
  check_one_line(result.errors.substr(result.errors.rfind("blockwise: ")));
  CHECK_THAT(result.errors, Contains("File too large"));
  // What is there is whole: with room again the same command finishes the run.
  CHECK(p.train({"--set", "model.n_embd=64"}).exit_code == 0);
  CHECK(read_run(p.folder / "run/run.h5").steps.size() == 60);
}

TEST_CASE("An unwritable folder is named") {
  const Prepared p;
  write_file_atomically(p.folder / "a-file", "in the way");
  const auto result = p.train({"--output", (p.folder / "a-file/run").string()});
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.errors, Contains("a-file"));
}

TEST_CASE("A diverging run ends as diverged and keeps its rows") {
  const Prepared p;
  const auto result = p.train({"--set", "trainer.divergence_loss=1.0", "--json"});
  CHECK(result.exit_code == 3);
  CHECK_THAT(result.output, Contains("\"state\":\"diverged\""));
  const auto run = read_run(p.folder / "run/run.h5");
  CHECK(run.state == RunState::diverged);
  CHECK(run.steps.size() == 1);
}
