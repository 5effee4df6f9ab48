// `blockwise replay` as a user types it.
#include <ATen/ATen.h>

#include "core/io/input_file.hpp"
#include "core/io/safetensors.hpp"
#include "experiments/config/optimizer_section.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

using Words = std::vector<std::string>;

struct Recorded {
  TemporaryFolder folder;
  std::string file = (folder / "recorded.safetensors").string();
  std::string output = (folder / "replayed.safetensors").string();
  Recorded() {
    write_safetensors(file, {{"param/w", at::ones({4, 3})},
                             {"grad/1/w", at::full({4, 3}, 0.5)},
                             {"grad/2/w", at::full({4, 3}, 0.5)}});
  }
  ProgramResult replay(const Words& more) const {
    Words words = {"replay", file, "--output", output};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
};

void check_refused(const ProgramResult& result, const std::string& text) {
  INFO(result.errors);
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains(text));
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("replay: parameters after every step, the state, and what was done") {
  const Recorded recorded;
  const auto result = recorded.replay({"--rule", "sgd_momentum", "--set", "learning_rate=0.1",
                                       "--set", "optimizer.momentum=0.5", "--role", "w=mlp_in"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("sgd_momentum: 1 parameter of 12 elements"));
  CHECK_THAT(result.output, Contains("2 steps"));
  const auto replayed = read_safetensors(recorded.output);
  REQUIRE(replayed.tensors.size() == 3);
  // b = 0.5, then 0.75; no clipping, though the gradient's norm is 1.7.
  CHECK(at::allclose(replayed.tensor("param/1/w"), at::full({4, 3}, 0.95)));
  CHECK(at::allclose(replayed.tensor("param/2/w"), at::full({4, 3}, 0.875)));
  CHECK(at::allclose(replayed.tensor("state/momentum_buffer/w"), at::full({4, 3}, 0.75)));
  CHECK(replayed.metadata.at("rule") == "sgd_momentum");
}

TEST_CASE("replay: mistakes are one sentence each") {
  const Recorded recorded;
  const Words rate = {"--set", "learning_rate=0.1"};
  const auto with = [&](Words words) {
    words.insert(words.end(), rate.begin(), rate.end());
    return recorded.replay(words);
  };
  check_refused(with({"--rule", "adamv"}), "'adamw'");
  check_refused(recorded.replay({"--rule", "adamw"}), "'optimizer.learning_rate' is missing");
  check_refused(with({"--rule", "adamw", "--role", "w"}), "NAME=ROLE");
  check_refused(with({"--rule", "adamw", "--role", "v=query"}), "'param/v'");
  check_refused(with({"--rule", "adam_mini", "--role", "w=query"}), "'w' is a query without heads");
  const auto text = (recorded.folder / "none.safetensors").string();
  check_refused(run_program({"replay", text, "--rule", "adamw", "--set", "learning_rate=1",
                             "--output", recorded.output}),
                text);
  check_refused(run_program({"replay", recorded.file, "--rule", "adamw", "--set", "learning_rate=1",
                             "--output", recorded.file}),
                "is the recording itself");
}

TEST_CASE("replay: settings are read as those of a file are") {
  const auto config = read_optimizer_section("here", {{"rule", "muon", "there"},
                                                      {"learning_rate", "1e-2", ""},
                                                      {"learning_rate", "2e-2", ""},
                                                      {"fallback.rule", "lion", ""},
                                                      {"no_decay", "[lm_head]", ""}});
  CHECK(config.rule == "muon");
  CHECK(config.learning_rate == 2e-2);
  CHECK(config.no_decay == std::vector<std::string>{"lm_head"});
  CHECK(config.spec->fallback()->rule == "lion");
  const auto error_of = [](const std::string& key, const std::string& value) {
    return input_error([&] {
      read_optimizer_section(
          "here",
          {{"rule", "adamw", "here"}, {"learning_rate", "1", "here"}, {key, value, "there"}});
    });
  };
  CHECK_THAT(error_of("beta1", "2"), Contains("there: optimizer.beta1: 2 is out of bounds"));
  CHECK_THAT(error_of("beta_1", "0.9"), Contains("did you mean"));
  CHECK_THAT(error_of("no_decay", "[a"), Contains("there"));
}
