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
  const auto run = file("run.yaml",
                        "name: a\ndata: {kind: markov_tokens}\nmodel: {family: gpt2}\n"
                        "optimizer: {rule: adamw, learning_rate: 1.0e-3}\ntrainer: {steps: 1}\n");
  CHECK(next_step({run, ""}, settings) ==
        "blockwise train " + run +
            " --output runs/a-found --set optimizer.rule=adam_mini --set "
            "optimizer.partition.file=runs/a=b.yaml");
  // What the search was told of the training, unless it found something else.
  CHECK(next_step({run,
                   "",
                   {"model.n_layer=1", "hessian.batch_size=2", "optimizer.rule=lion",
                    "discovery.codes=2", "output=runs/ö b"}},
                  settings) ==
        "blockwise train " + run +
            " --output 'runs/ö b-found' --set model.n_layer=1 --set optimizer.rule=adam_mini --set "
            "optimizer.partition.file=runs/a=b.yaml");
  const auto sweep = file("sweep.yaml", "name: a\nsweep: {method: grid}\n");
  CHECK(next_step({sweep, ""}, settings) ==
        "blockwise sweep " + sweep +
            ", with a group that says set: {optimizer.rule: adam_mini, optimizer.partition.file: "
            "runs/a=b.yaml} where it has none yet");
}
