// What a search says to type next can be typed.
#include "experiments/commands/next_step.hpp"

#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("After a search of a run's file the next step is train, of a sweep's a group") {
  const TemporaryFolder folder;
  const auto file = [&](const char* name, const char* text) {
    write_file_atomically(folder / name, text);
    return (folder / name).string();
  };
  const std::vector<std::string> settings = {"optimizer.rule=adam_mini",
                                             "optimizer.partition.file=runs/a=b.yaml"};
  const auto run = file("run.yaml", "name: a\n");
  CHECK(next_step({run, ""}, settings) ==
        "blockwise train " + run +
            " --set optimizer.rule=adam_mini --set optimizer.partition.file=runs/a=b.yaml");
  const auto sweep = file("sweep.yaml", "name: a\nsweep: {method: grid}\n");
  CHECK(next_step({sweep, ""}, settings) ==
        "blockwise sweep " + sweep +
            ", with a group that says set: {optimizer.rule: adam_mini, optimizer.partition.file: "
            "runs/a=b.yaml} where it has none yet");
}
