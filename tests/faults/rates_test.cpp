// A search for rates from curvature, whose samples are lines of a file that grows.
#include "core/io/input_file.hpp"
#include "tests/faults/fault_walk.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Search {
  SmallRunFolder small{4};

  FaultyWork work() const {
    const auto folder = small.folder / "found";
    return {folder,
            program_with({"search-lr", small.config, "--method", "curvature", "--output",
                          folder.string(), "--set", "optimizer.rule=blockwise_sgd", "--set",
                          "search_lr.samples=1", "--set", "search_lr.products=4", "--set",
                          "hessian.batch_size=2"}),
            [folder] {
              Contents c;
              for (const auto* name : {"rates.yaml", "rates.csv"}) {
                c[name] = read_text_file(folder / name);
              }
              return c;
            }};
  }
};

}  // namespace

TEST_CASE("Faults: a search for rates under faults of all kinds") {
  const Search search;
  const FaultWalk walk(search.work());
  for (const auto kind : {FaultKind::kill, FaultKind::once, FaultKind::lasting}) walk.walk(kind, 4);
}

TEST_CASE("Faults: the same while a stopped search for rates is continued") {
  const Search search;
  const auto calls = FaultWalk(search.work()).calls();
  fs::remove_all(search.work().folder);
  const FaultWalk walk(search.work(), calls / 2);
  for (const auto kind : {FaultKind::kill, FaultKind::once, FaultKind::lasting}) walk.walk(kind, 3);
}
