// Samples of rates are kept as lines of a file, whose last one a full disk or a kill cuts off.
#include <fmt/format.h>

#include <algorithm>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Search {
  SmallRunFolder small{4};
  fs::path found = small.folder / "found";

  ProgramResult run() const {
    return small.run({"search-lr", "--method", "curvature", "--output", found.string(), "--set",
                      "optimizer.rule=blockwise_sgd", "--set", "search_lr.samples=1", "--set",
                      "search_lr.products=4", "--set", "hessian.batch_size=2"});
  }
};

// What a process that was killed after so many bytes left.
void check_goes_on(const Search& search, const std::string& kept, const std::string& rates,
                   const std::string& table) {
  INFO("kept: " << kept);
  fs::remove_all(search.found);
  fs::create_directories(search.found);
  write_file_atomically(search.found / "samples.txt", kept);
  const auto again = search.run();
  INFO(again.errors);
  REQUIRE(again.exit_code == 0);
  CHECK(read_text_file(search.found / "rates.yaml") == rates);
  CHECK(read_text_file(search.found / "rates.csv") == table);
}

}  // namespace

// Behind "0 1" the next line would be written as "0 10 2 ...": another target's, and a right line.
TEST_CASE("A kept sample that was cut off anywhere is measured again, to the same rates") {
  const Search search;
  const auto undisturbed = search.run();
  INFO(undisturbed.errors);
  REQUIRE(undisturbed.exit_code == 0);
  const auto rates = read_text_file(search.found / "rates.yaml");
  const auto table = read_text_file(search.found / "rates.csv");
  // The samples go when all is written: with a folder in the way of the last file they stay.
  fs::remove_all(search.found);
  fs::create_directories(search.found / "rates.csv/in_the_way");
  CHECK(search.run().exit_code == 1);
  const auto samples = read_text_file(search.found / "samples.txt");
  REQUIRE(std::ranges::count(samples, '\n') > 10);
  const auto last = samples.rfind('\n', samples.size() - 2) + 1;
  const auto second = samples.find('\n') + 1, third = samples.find('\n', second) + 1;
  // In the last line, without its end, in another one, and in the head.
  for (const auto cut : {last + 3, last + 12, samples.size() - 1, third + 3, second - 20}) {
    check_goes_on(search, samples.substr(0, cut), rates, table);
  }
}
