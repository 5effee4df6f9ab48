// What lies beside somebody's data is not run when the program calls Python.
#include <fmt/format.h>

#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

// A folder with modules under the names of those that our helpers import, each of which leaves a
// file when it is run.
class TrappedFolder {
 public:
  TrappedFolder() {
    fs::create_directory(folder_ / "blockwise");
    for (const auto* name :
         {"json", "runpy", "numpy", "tokenizers", "argparse", "sitecustomize", "usercustomize",
          "startup", "blockwise/__init__", "blockwise/tokens"}) {
      write_file_atomically(folder_ / (std::string(name) + ".py"),
                            fmt::format("open(r'{}', 'w').close()\n", executed().string()));
    }
  }

  // For run_program: the program is started from here, as somebody's PYTHON... variables may have
  // it.
  std::string prefix() const {
    return fmt::format("cd '{0}'; export PYTHONPATH='{0}' PYTHONSTARTUP='{0}/startup.py';",
                       folder_.path().string());
  }
  fs::path executed() const { return folder_ / "executed"; }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kTokenizer = R"({"version": "1.0", "truncation": null, "padding": null,
"added_tokens": [], "normalizer": null, "post_processor": null,
"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                  "use_regex": true},
"decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
"model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
          "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
          "vocab": {"a": 0, "b": 1}, "merges": []}})";

}  // namespace

TEST_CASE("The traps of these tests work: Python itself steps into them") {
  const TrappedFolder trapped;
  const auto command = trapped.prefix() + " python3 -m json </dev/null >/dev/null 2>&1";
  static_cast<void>(!std::system(command.c_str()));
  CHECK(fs::exists(trapped.executed()));
}

TEST_CASE("Preparing tokens runs no module of the current folder or of PYTHONPATH") {
  const TrappedFolder trapped;
  const TemporaryFolder data;
  write_file_atomically(data / "a.txt", "abab abba baab abab abba baab");
  const auto result = run_program(
      {"data", "--train", (data / "a.txt").string(), "--output", (data / "tokens").string(),
       "--validation-fraction", "0.5", "--tokenizer", "bpe", "--vocab-size", "257"},
      trapped.prefix());
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK_FALSE(fs::exists(trapped.executed()));
}

TEST_CASE("Encoding a prompt runs no module of the current folder or of PYTHONPATH") {
  const TrappedFolder trapped;
  const SmallRunFolder small(4);
  const auto trained = small.run({"train"});
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  write_file_atomically(small.folder / "tokenizer.json", kTokenizer);
  const auto result = run_program(
      {"generate", "--model", (small.folder / "run").string(), "--prompt", "abba", "--tokens", "2"},
      trapped.prefix());
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK_FALSE(fs::exists(trapped.executed()));
}

TEST_CASE("Drawing a spectrum runs no module of the current folder or of PYTHONPATH") {
  const TrappedFolder trapped;
  const SmallRunFolder small(4, "hessian: {lanczos_steps: 2, probes: 1, batch_size: 2}\n");
  const auto output = small.folder / "spectrum";
  const auto result = small.run({"spectrum", "--output", output.string()}, trapped.prefix());
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(fs::exists(output / "figure.png"));
  CHECK_FALSE(fs::exists(trapped.executed()));
}
