// generate --tokenizer: what is no tokenizer is refused, whatever the model's vocabulary is.
#include <fstream>

#include "experiments/text/tokenizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

TEST_CASE("generate: a tokenizer that is not there is an error, bytes by name are one") {
  const SmallRunFolder small(4);
  const auto generate = [&](const std::string& tokenizer) {
    return run_program({"generate", "--model", small.config, "--prompt", "!", "--tokens", "2",
                        "--tokenizer", tokenizer, "--threads", "1"});
  };
  const auto missing = generate("nothing");
  CHECK(missing.exit_code == 2);
  CHECK_THAT(missing.errors, Contains("blockwise: nothing: there is no such tokenizer") &&
                                 Contains("tokenizer.json"));
  CHECK(generate("byte").exit_code == 0);
  CHECK(generate(small.folder.path().string()).exit_code == 0);  // its manifest says bytes
}

TEST_CASE("A named tokenizer is that or an error") {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& name) {
    return input_error([&] { open_named_tokenizer(name); });
  };
  CHECK_THAT(error(folder.path().string()),
             Contains("this folder has neither a tokenizer.json nor the manifest.json"));
  std::ofstream(folder / "manifest.json") << R"({"tokenizer": "bpe"})";
  CHECK_THAT(error(folder.path().string()), Contains("neither a tokenizer.json"));
  CHECK_THAT(error(""), Contains("there is no such tokenizer"));
  CHECK_THAT(error("/dev/zero"), Contains("not a regular file"));
  CHECK(open_named_tokenizer("byte")->encode("a") == std::vector<std::int64_t>{97});
}
