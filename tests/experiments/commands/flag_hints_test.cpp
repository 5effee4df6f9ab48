// Which flags an error of a verb without a YAML names.
#include "experiments/commands/flag_hints.hpp"

#include "tests/support/catch.hpp"

using namespace blockwise;

TEST_CASE("An error names the flags of the keys and paths in it, and no others") {
  FlagTable flags{{{"data.train", "--tokens"}}, {}, true};
  flags.values.emplace_back("a", "--model");
  flags.values.emplace_back("runs/x", "--checkpoints");
  CHECK(with_flags("there is no model a: no file", flags) ==
        "there is no model a: no file (flags: --model)");
  CHECK(with_flags("nothing of the name, seed and output", flags) ==
        "nothing of the name, seed and output");
  CHECK(with_flags("data.train is 3, hessian.batches is 4", flags) ==
        "data.train is 3, hessian.batches is 4 (flags: --tokens, --set hessian.batches=VALUE)");
  CHECK(with_flags("--set hessian.batches=4: too many for hessian.batches", flags) ==
        "--set hessian.batches=4: too many for hessian.batches");
  CHECK(with_flags("runs/x/checkpoints: empty", flags) ==
        "runs/x/checkpoints: empty (flags: --checkpoints)");
  CHECK(with_flags("runs/xy and other/runs/x: empty", flags) == "runs/xy and other/runs/x: empty");
  flags.has_set = false;
  CHECK(with_flags("hessian.batches is 4", flags) == "hessian.batches is 4");
}
