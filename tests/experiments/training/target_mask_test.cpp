// A mask beside a token file: which targets the verbs ask for.
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/text/token_evaluation.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Trained : SmallRunFolder {
  std::string output = (folder / "run").string();
  Trained() : SmallRunFolder(3) { REQUIRE(run({"train"}).exit_code == 0); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
};

}  // namespace

TEST_CASE("eval and train ask for what the mask beside a token file leaves") {
  const Trained small;
  const auto loaded = load_model(small.output, at::kCPU);
  std::string mask(1500, '\1');
  for (std::size_t i = 0; i < mask.size(); i += 4) mask[i] = '\0';
  const auto evaluated = [&] {
    const TokenSequence tokens(find_token_files(small.path("validation.bin")), TokenLayout::llmc);
    return evaluate_tokens(*loaded.model, tokens, at::kCPU, {8, 3}, [](auto) {});
  };
  const auto whole = evaluated();
  write_file_atomically(small.path("validation.mask"), mask);
  const auto some = evaluated();
  CHECK(some.targets == 1499 - 374);  // tokens 4, 8, ..., 1496 are no targets
  for (auto& byte : mask) byte = byte == '\1' ? '\0' : '\1';
  write_file_atomically(small.path("validation.mask"), mask);
  const auto others = evaluated();
  CHECK(others.targets == 374);
  // Sums of float32 losses in double.
  CHECK(some.loss * 1125 + others.loss * 374 == Approx(whole.loss * 1499).epsilon(1e-6));
  // Of a window of 8 the targets 4 and 8 are those at positions 3 and 7.
  CHECK(others.loss_by_position[3] == Approx(whole.loss_by_position[3]).epsilon(1e-6));
  CHECK(std::isnan(others.loss_by_position[0]));
  const auto result =
      run_program({"eval", "--model", small.output, "--tokens", small.path("validation.bin"),
                   "--sequence-length", "8", "--json"});
  REQUIRE(result.exit_code == 0);
  const auto word = nlohmann::json::parse(result.output);
  CHECK(word["bits_per_byte"].is_null());  // of how many bytes, nobody knows
  CHECK(word["tokens"] == 374);
}

TEST_CASE("With a mask the loss of a step is the mean over its targets, however it is cut") {
  const Trained small;
  const auto train = [&](const std::string& name, const std::string& micro_batch) {
    const auto result =
        run_program({"train", small.path("run.yaml"), "--output", small.path(name), "--set",
                     "model.dropout=0", "--set", "trainer.micro_batch_size=" + micro_batch, "--set",
                     "trainer.steps=3", "--set", "trainer.loss_chunk_tokens=8"});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_run(small.path(name + "/run.h5"));
  };
  const auto without = train("without", "4");
  write_file_atomically(small.path("train.mask"), std::string(6000, '\1'));
  const auto all = train("all", "4");
  // Tokens in runs, so that micro-batches have different numbers of targets, and some none.
  std::string mask(6000, '\1');
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = (i / 40) % 3 == 0 ? '\1' : '\0';
  write_file_atomically(small.path("train.mask"), mask);
  const auto one = train("one", "1"), two = train("two", "2"), eight = train("eight", "8");
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(all.steps[i].loss == without.steps[i].loss);
    CHECK(all.steps[i].update_norm == without.steps[i].update_norm);
    // Float32 sums in another order; after a step of Adam near zero gradients they differ by more.
    const double tolerance = i == 0 ? 1e-5 : 1e-3;
    CHECK(one.steps[i].loss == Approx(eight.steps[i].loss).epsilon(tolerance));
    CHECK(two.steps[i].loss == Approx(eight.steps[i].loss).epsilon(tolerance));
    CHECK(two.steps[i].gradient_norm == Approx(eight.steps[i].gradient_norm).epsilon(tolerance));
    CHECK(one.steps[i].gradient_norm == Approx(eight.steps[i].gradient_norm).epsilon(tolerance));
  }
  write_file_atomically(small.path("train.mask"), std::string(6000, '\0'));
  const auto none = run_program({"train", small.path("run.yaml"), "--output", small.path("none")});
  CHECK_THAT(none.errors, Contains("leaves no target that counts in step 1"));
}
