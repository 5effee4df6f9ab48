// A stop in the middle of spectrum, partition and search-lr ends within about a product, whichever
// loop it falls into, and the same call goes on from what was saved. The signal is raised by the
// model itself at a pass that is counted, so no clock is involved.
#include <fmt/format.h>

#include <csignal>
#include <sstream>

#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/curvature/spectrum.hpp"
#include "experiments/partitions/partition_discovery.hpp"
#include "experiments/rates/rate_search.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/counted_passes.hpp"
#include "tests/support/formula_oracle.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

// Forward passes through the model; one of them brings the signal.
struct Passes {
  std::int64_t count = 0;
  std::int64_t signal_at = 0;
  void add() {
    if (++count == signal_at) std::raise(SIGUSR1);
  }
  std::int64_t behind_signal() const { return count - signal_at; }
};

// Every product makes its graph anew, so that it is a pass through the model.
RunConfig config_of(const SmallRunFolder& small, const std::string& output,
                    const std::vector<std::string>& settings) {
  auto document = YamlDocument::load(small.config);
  document.set("hessian.method=fresh_graph");
  document.set("hessian.batches=1");
  document.set("hessian.batch_size=1");
  for (const auto& setting : settings) document.set(setting);
  auto config = document.run_config();
  config.output = (small.folder / output).string();
  return config;
}

void count_passes(RunConfig& config, Passes& passes) {
  tell_passes(config, [&passes] { passes.add(); });
}

// `work(passes)` says whether it finished. Stops it at pass 1, 1 + stride and so on of an attempt,
// until an attempt ends before its signal.
template <typename Work>
void stop_everywhere(std::int64_t stride, std::int64_t most_behind, const Work& work) {
  std::int64_t stopped = 0;
  for (std::int64_t at = 1;; at += stride) {
    Passes passes{0, at};
    forget_stop();
    install_stop_handlers("product");
    const bool finished = work(passes);
    const bool signalled = passes.count >= at;
    forget_stop();
    INFO("signal at pass " << at << ", " << passes.behind_signal() << " passes behind it");
    REQUIRE(stopped < 100);  // what is saved brings every attempt further
    if (signalled && !finished) {
      CHECK(passes.behind_signal() <= most_behind);
      ++stopped;
    }
    // The last product's signal may come too late to leave anything undone.
    if (finished) {
      CHECK((!signalled || passes.behind_signal() <= most_behind));
      break;
    }
  }
  CHECK(stopped >= 3);
}

// Passes that are made again where `stops` attempts are stopped at pass `at` each, and one more
// goes to its end.
template <typename Work>
std::int64_t passes_lost(std::int64_t at, int stops, std::int64_t undisturbed, const Work& work) {
  std::int64_t all = 0;
  for (int attempt = 0; attempt <= stops; ++attempt) {
    Passes passes{0, attempt < stops ? at : 0};
    forget_stop();
    install_stop_handlers("product");
    const bool finished = work(passes);
    forget_stop();
    REQUIRE(finished == (attempt == stops));
    all += passes.count;
  }
  return all - undisturbed;
}

}  // namespace

TEST_CASE("partition: a stop in any phase ends within a product, and what goes on ends alike",
          "[stop]") {
  const SmallRunFolder small(4);
  const auto find = [&](const std::string& output, Passes& passes) {
    auto discovery = resolve_discovery(
        config_of(small, output,
                  {"discovery.vectors=2", "discovery.codes=2", "discovery.candidates=[row]",
                   "discovery.gradient_batches=8", "discovery.validation_vectors=2",
                   "discovery.condition_blocks=1", "discovery.merge=true"}));
    count_passes(discovery.config, passes);
    FormulaOracle unasked;
    return discover_partition(
               discovery, unasked, [](std::int64_t, const auto&) {}, stop_requested)
        .finished;
  };
  Passes undisturbed;
  REQUIRE(find("whole", undisturbed));
  // A product of the matrices one by one is as many passes as there are; and one for a gradient.
  const auto matrices = 12;
  stop_everywhere(undisturbed.count / 6, matrices,
                  [&](Passes& passes) { return find("stopped", passes); });
  CHECK(read_text_file(small.folder / "whole/partition.yaml") ==
        read_text_file(small.folder / "stopped/partition.yaml"));
}

TEST_CASE("search-lr: a stop ends within a product, and what goes on ends alike", "[stop]") {
  const SmallRunFolder small(4);
  for (const std::string method : {"curvature", "mean_v"}) {
    INFO(method);
    const auto find = [&](const std::string& output, Passes& passes) {
      auto search = resolve_rate_search(
          config_of(small, output,
                    {"search_lr.method=" + method, "search_lr.samples=2", "search_lr.products=8",
                     "search_lr.error=0", "search_lr.gradient_batches=4"}));
      count_passes(search.config, passes);
      FormulaOracle unasked;
      return search_rates(
                 search, unasked, [](std::int64_t, const auto&) {}, stop_requested)
          .finished;
    };
    Passes undisturbed;
    REQUIRE(find(method + "-whole", undisturbed));
    // A gradient of a micro-batch is 4 passes, one per example.
    stop_everywhere(std::max<std::int64_t>(1, undisturbed.count / 12), 4,
                    [&](Passes& passes) { return find(method + "-stopped", passes); });
    CHECK(read_text_file(small.folder / (method + "-whole") / "rates.yaml") ==
          read_text_file(small.folder / (method + "-stopped") / "rates.yaml"));
  }
}

TEST_CASE("spectrum: a stop in any part ends within a product, and what goes on ends alike",
          "[stop]") {
  const SmallRunFolder small(4);
  const std::vector<std::string> common = {"hessian.parts.names=['*norm*']",
                                           "hessian.couplings.products=2", "hessian.distances=true",
                                           "hessian.preconditioning=true"};
  const std::vector<std::string> estimated = {"hessian.lanczos.steps=4",
                                              "hessian.lanczos.probes=2",
                                              "hessian.pairs.count=2",
                                              "hessian.trace.products=4",
                                              "hessian.lanczos.save_every=1000",
                                              "hessian.diagonal.products=4",
                                              "hessian.spectral.functions=[absolute]"};
  for (const auto& [name, kind] :
       {std::pair{"lanczos", estimated},
        std::pair{"exact", std::vector<std::string>{"hessian.exact=true"}}}) {
    INFO(name);
    auto settings = common;
    settings.insert(settings.end(), kind.begin(), kind.end());
    const auto measure = [&](const std::string& output, Passes& passes) {
      auto spectrum = resolve_spectrum(config_of(small, output, settings));
      count_passes(spectrum.config, passes);
      return measure_spectrum(spectrum, {[](auto...) {}, stop_requested, stop_signal_name});
    };
    const std::string whole = std::string(name) + "-whole", parts = std::string(name) + "-parts";
    // Processes of their own: HDF5 goes on with no file that it wrote to in the same one.
    const auto apart = [&](const std::string& output, Passes& passes) {
      ChildProcess child([&](const auto& say) {
        const bool finished = measure(output, passes).state == RunState::finished;
        say(fmt::format("{} {}", passes.count, finished ? 1 : 0));
      });
      int finished = 0;
      std::istringstream(child.wait().text) >> passes.count >> finished;
      return finished == 1;
    };
    Passes undisturbed;
    REQUIRE(apart(whole, undisturbed));
    stop_everywhere(undisturbed.count / 12, 2,
                    [&](Passes& passes) { return apart(parts, passes); });
    Passes none;
    const auto expected = measure(whole, none).rows, found = measure(parts, none).rows;
    CHECK(none.count == 0);  // both are there already
    REQUIRE(found.eigenvalues.size() == expected.eigenvalues.size());
    for (std::size_t i = 0; i < found.eigenvalues.size(); ++i) {
      CHECK(found.eigenvalues[i].value == expected.eigenvalues[i].value);
    }
    CHECK(found.couplings.size() == expected.couplings.size());
  }
}

// The first block, the embedding, takes 20 products.
TEST_CASE("search-lr: a stop within a block loses none of its products", "[stop]") {
  const SmallRunFolder small(4);
  const auto find = [&](const std::string& output, Passes& passes) {
    auto search =
        resolve_rate_search(config_of(small, output,
                                      {"search_lr.samples=1", "search_lr.products=20",
                                       "search_lr.error=0", "search_lr.gradient_batches=4"}));
    count_passes(search.config, passes);
    FormulaOracle unasked;
    return search_rates(
               search, unasked, [](std::int64_t, const auto&) {}, stop_requested)
        .finished;
  };
  Passes undisturbed;
  REQUIRE(find("whole", undisturbed));
  CHECK(passes_lost(5, 3, undisturbed.count,
                    [&](Passes& passes) { return find("parts", passes); }) == 0);
  for (const auto* name : {"rates.yaml", "rates.csv"}) {
    CHECK(read_text_file(small.folder / "whole" / name) ==
          read_text_file(small.folder / "parts" / name));
  }
  CHECK(!std::filesystem::exists(small.folder / "parts/products.bin"));
}

// 256 columns of a matrix, 100 products of a trace and 60 of a diagonal.
TEST_CASE("spectrum: a stop within an exact block, or an estimate, loses none of its products",
          "[stop]") {
  const SmallRunFolder small(4);
  const std::vector<std::string> what =
      GENERATE(std::vector<std::string>{"hessian.exact=true"},
               std::vector<std::string>{"hessian.trace.products=100", "hessian.lanczos.steps=0"},
               std::vector<std::string>{"hessian.diagonal.products=60", "hessian.lanczos.steps=0"});
  INFO(what.front());
  std::vector<std::string> settings = {"hessian.parts.names=['*q_proj*']", "hessian.guards=false"};
  settings.insert(settings.end(), what.begin(), what.end());
  const auto measure = [&](const std::string& output, Passes& passes) {
    auto spectrum = resolve_spectrum(config_of(small, output, settings));
    count_passes(spectrum.config, passes);
    return measure_spectrum(spectrum, {[](auto...) {}, stop_requested, stop_signal_name});
  };
  const auto apart = [&](const std::string& output, Passes& passes) {
    ChildProcess child([&](const auto& say) {
      const bool finished = measure(output, passes).state == RunState::finished;
      say(fmt::format("{} {}", passes.count, finished ? 1 : 0));
    });
    int finished = 0;
    std::istringstream(child.wait().text) >> passes.count >> finished;
    return finished == 1;
  };
  Passes undisturbed;
  REQUIRE(apart("whole", undisturbed));
  // Each attempt asks for the loss and the gradient first, which no file keeps.
  constexpr int kStops = 3, kFirst = 2;
  CHECK(passes_lost(15, kStops, undisturbed.count,
                    [&](Passes& passes) { return apart("parts", passes); }) <= kStops * kFirst);
  Passes none;
  const auto expected = measure("whole", none).rows, found = measure("parts", none).rows;
  REQUIRE(found.summary.size() == 1);
  CHECK(found.eigenvalues.size() == expected.eigenvalues.size());
  for (std::size_t i = 0; i < found.eigenvalues.size(); ++i) {
    CHECK(found.eigenvalues[i].value == expected.eigenvalues[i].value);
  }
  const bool has_trace = what.front().find("diagonal") == std::string::npos;
  CHECK((!has_trace || found.summary[0].trace == expected.summary[0].trace));
  CHECK(found.summary[0].products == expected.summary[0].products);
  CHECK(!std::filesystem::exists(small.folder / "parts/products-0-0.bin"));
}

// Work that would take hours; the shell fragment interrupts it once its folder is there.
TEST_CASE("Ctrl-C ends spectrum, partition and search-lr with the interrupted code", "[stop]") {
  const SmallRunFolder small(4);
  struct Verb {
    std::string name, setting, file;
  };
  for (const auto& [name, setting, file] :
       {Verb{"spectrum", "hessian.trace.products=1000000", "spectrum.h5"},
        Verb{"partition", "discovery.vectors=10000", "config.yaml"},
        Verb{"search-lr", "search_lr.samples=1000", "config.yaml"}}) {
    INFO(name);
    const auto folder = (small.folder / name).string();
    const auto result = small.run(
        {name, "--output", folder, "--threads", "1", "--set", setting},
        "{ (until [ -s '" + folder + "/" + file + "' ]; do sleep 0.05; done; kill -INT $$) & };");
    CHECK(result.exit_code == kExitInterrupted);
    CHECK_THAT(result.output, Contains("Stopped by SIGINT. This goes on:") && Contains(name));
    CHECK_THAT(result.errors,
               Contains("SIGINT: stopping after this product") && Contains("again to quit"));
  }
}
