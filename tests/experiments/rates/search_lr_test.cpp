// The verb `search-lr`, and training with what it writes.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <sstream>

#include "core/io/input_file.hpp"
#include "core/parameters/parameter_store.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Search : SmallRunFolder {
  Search() : SmallRunFolder(4) {}
  std::vector<std::string> arguments(const std::string& method,
                                     const std::vector<std::string>& settings) const {
    std::vector<std::string> all = {
        "search-lr", "--method", method, "--output", (folder / "found").string(), "--jobs", "2"};
    for (const auto& setting : settings) all.insert(all.end(), {"--set", setting});
    return all;
  }
  std::string file() const { return (folder / "found/rates.yaml").string(); }
  BlockRates rates() const {
    const auto run = resolve(YamlDocument::load(folder / "run.yaml").run_config());
    return read_block_rates(file(), run.layout, run.config.optimizer.make_partition(run.layout));
  }
};

}  // namespace

TEST_CASE("search-lr: rates from curvature per block, killed and resumed alike, train") {
  const Search s;
  const auto arguments = s.arguments(
      "curvature", {"search_lr.samples=2", "search_lr.per=block", "search_lr.damping=0.01"});
  const auto first = s.run(arguments);
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("products with the Hessian") && Contains("implied by mean(v)"));
  const auto text = read_text_file(s.file());
  const auto table = read_text_file(s.folder / "found/rates.csv");
  CHECK_THAT(table, Contains("largest,smallest,smallest_error,smallest_converged,products"));
  int killed = 0;
  for (const auto& kill : kills_during(first.seconds, {0.5, 0.8})) {
    fs::remove_all(s.folder / "found");
    if (s.run(arguments, kill).exit_code != 0) ++killed;
    REQUIRE(s.run(arguments).exit_code == 0);
    CHECK(read_text_file(s.file()) == text);
    CHECK(read_text_file(s.folder / "found/rates.csv") == table);
  }
  CHECK(killed >= 1);
  for (const auto& tensor : s.rates().tensors) {
    for (const auto& section : tensor) {
      REQUIRE(section.low.size() == section.rate.size());
      for (std::size_t b = 0; b < section.rate.size(); ++b) {
        CHECK(section.rate[b] > 0.0);
        CHECK(section.low[b] <= section.rate[b]);
        CHECK(section.rate[b] <= section.high[b]);
      }
    }
  }
  for (const std::string rule : {"blockwise_sgd", "adam_mini"}) {
    const auto trained =
        s.run({"train", "--set", "optimizer.rule=" + rule, "--set", "optimizer.learning_rate=0.001",
               "--set", "optimizer.block_lr=" + s.file(), "--output", (s.folder / rule).string()});
    INFO(trained.errors);
    CHECK(trained.exit_code == 0);
    CHECK(read_run(s.folder / rule / "run.h5").steps.size() == 4);
  }
}

TEST_CASE("search-lr: coordinate search takes what gains, and its bound on runs holds") {
  const Search s;
  // A rate that is far too small: every group that matters gains by a larger one.
  auto arguments =
      s.arguments("coordinate",
                  {"optimizer.learning_rate=1e-4", "search_lr.max_trials=26", "search_lr.points=3",
                   "trainer.checkpoint_every=0", "trainer.evaluate_every=0"});
  CHECK(s.run(arguments, "timeout -s INT 3").exit_code != 2);
  const auto first = s.run(arguments);
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("max_trials ended the search") && Contains("not reached"));
  const auto text = read_text_file(s.file());
  std::int64_t runs = 0;
  for ([[maybe_unused]] const auto& entry :
       fs::directory_iterator(s.folder / "found/trials/members")) {
    ++runs;
  }
  CHECK(runs <= 26);
  bool larger = false;
  for (const auto& tensor : s.rates().tensors) larger = larger || tensor.front().of(0) > 1.0;
  CHECK(larger);
  fs::remove_all(s.folder / "found");
  REQUIRE(s.run(arguments).exit_code == 0);
  CHECK(read_text_file(s.file()) == text);
}

TEST_CASE("search-lr: leave-x-out writes the partition that its rate goes with") {
  const Search s;
  const auto result = s.run(s.arguments(
      "leave_out", {"search_lr.left_out=[2]", "search_lr.points=3", "search_lr.samples=1",
                    "search_lr.trial_seeds=2", "trainer.checkpoint_every=0"}));
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto partition = (s.folder / "found/partition.yaml").string();
  CHECK_THAT(read_text_file(partition), Contains("structure: none"));
  CHECK_THAT(read_text_file(s.folder / "found/rates.csv"), Contains("left_out,sections,rate"));
  const auto trained = s.run({"train", "--set", "optimizer.block_lr=" + s.file(), "--set",
                              "optimizer.partition.file=" + partition});
  INFO(trained.errors);
  CHECK(trained.exit_code == 0);
  const auto other = s.run({"train", "--set", "optimizer.block_lr=" + s.file(), "--output",
                            (s.folder / "other").string()});
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.errors, Contains("rates.yaml:") && Contains("of the partition"));
}

TEST_CASE("search-lr: on a quadratic every block gets the optimum") {
  const TemporaryFolder folder;
  const auto config = (fs::path(BLOCKWISE_SOURCE_DIR) / "configs/studies/quadratics.yaml").string();
  const auto result = run_program({"search-lr", config, "--output", folder.path().string(), "--set",
                                   "optimizer.rule=blockwise_sgd"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  auto document = YamlDocument::load(config);
  const auto run = resolve(document.run_config());
  const auto rates = read_block_rates(folder / "rates.yaml", run.layout,
                                      run.config.optimizer.make_partition(run.layout));
  for (std::size_t b = 0; b < 3; ++b) {
    // Eigenvalues from l to 8 l, l = 1, sqrt(125), 125.
    const double best = 2.0 / (9.0 * std::pow(125.0, double(b) / 2.0));
    CHECK(rates.tensors[b][0].of(0) == Approx(best).epsilon(0.05));
  }
}

namespace {

// learning_rate / sqrt(mean of the squared gradient) of every tensor, with the gradients of batches
// of `micro` examples, `accumulated` to one: 4 means of 4 squares, as they are from example
// `first`.
std::vector<double> rates_by_hand(const ResolvedRun& run, std::int64_t first, std::int64_t micro,
                                  std::int64_t accumulated) {
  ParameterStore store(run.layout, at::kCPU);
  store.initialize(static_cast<std::uint64_t>(run.config.seed));
  const auto model = run.config.model.spec->build(store);
  std::vector<std::vector<double>> squares(run.layout.parameters().size(),
                                           std::vector<double>(4, 0.0));
  for (std::int64_t b = 0; b < 16; ++b) {
    at::Tensor loss;
    for (std::int64_t m = 0; m < accumulated; ++m, first += micro) {
      ForwardContext context;
      const auto part = model->loss(run.data->training_examples(first, micro), context);
      loss = loss.defined() ? loss + part / double(accumulated) : part / double(accumulated);
    }
    const auto gradient = torch::autograd::grad({loss}, store.tensors());
    for (std::size_t t = 0; t < squares.size(); ++t) {
      squares[t][std::size_t(b % 4)] += gradient[t].square().mean().item<double>() / 4.0;
    }
  }
  std::vector<double> rates;
  for (const auto& groups : squares) {
    double log = 0.0;
    for (const double g : groups)
      log += std::log(run.config.optimizer.learning_rate / std::sqrt(g));
    rates.push_back(std::exp(log / 4.0));
  }
  return rates;
}

}  // namespace

// A batch of 8 examples in two micro-batches; the Hessian's are of 3.
TEST_CASE("search-lr: mean(v) is that of the run's batch, and it says so") {
  const Search s;
  auto arguments = s.arguments("mean_v", {"optimizer.partition.rule=per_tensor",
                                          "hessian.batch_size=3", "hessian.batches=2"});
  const auto result = s.run(arguments);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const std::string used = "16 squared gradients of 8 examples each (2 x 4)";
  CHECK_THAT(result.output, Contains("mean(v): " + used) && Contains("v: " + used));
  CHECK_THAT(read_text_file(s.file()), Contains(used));
  auto document = YamlDocument::load(s.folder / "run.yaml");
  const auto run = resolve(document.run_config());
  // Behind the Hessian's six examples.
  const auto expected = rates_by_hand(run, 8, 4, 2), of_half = rates_by_hand(run, 8, 4, 1);
  std::istringstream table(read_text_file(s.folder / "found/rates.csv"));
  std::string line;
  const auto cells_of = [](const std::string& text) {
    std::vector<std::string> cells;
    std::istringstream row(text);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    return cells;
  };
  std::getline(table, line);
  const auto names = cells_of(line);
  const auto column = std::ranges::find(names, "mean_v") - names.begin();
  REQUIRE(column < std::ssize(names));
  for (std::size_t t = 0; t < expected.size(); ++t) {
    REQUIRE(std::getline(table, line));
    INFO(line);
    const double rate = std::stod(cells_of(line).at(static_cast<std::size_t>(column)));
    CHECK(rate == Approx(expected[t]).epsilon(1e-4));  // six digits, float32
    CHECK(rate > 1.1 * of_half[t]);
  }
  const auto wrong = s.run(s.arguments("mean_v", {"trainer.global_batch_tokens=100"}));
  CHECK(wrong.exit_code == 2);
  CHECK_THAT(wrong.errors, Contains("trainer.global_batch_tokens is 100, not a multiple"));
}

TEST_CASE("search-lr: bad input is one sentence") {
  const Search s;
  const auto refused = [&](const std::string& method, const std::string& setting) {
    const auto result = s.run(s.arguments(method, {setting}));
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(refused("curvature", "optimizer.rule=adamw"), Contains("'adamw' has no partition"));
  CHECK_THAT(refused("leave_out", "optimizer.rule=blockwise_sgd"), Contains("is to be adam_mini"));
  CHECK_THAT(refused("leave_out", "search_lr.left_out=[99]"),
             Contains("99 sections of matrices, and there are"));
  CHECK_THAT(refused("gradient", "seed=1"), Contains("search_lr.method"));
  CHECK_THAT(refused("coordinate", "search_lr.points=4"), Contains("an odd number of points"));
}
