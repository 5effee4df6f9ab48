// Several validation sets: each evaluated and recorded by its name.
#include <fmt/format.h>

#include "core/io/hdf5_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/curves.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> train(const SmallRunFolder& small, const std::string& names) {
  return {"train", "--set",
          fmt::format(fmt::runtime("data.validations=" + names), small.folder.path().string())};
}

constexpr const char* kTwo = "{{same: {0}/validation.bin, trained on: {0}/train.bin}}";

}  // namespace

TEST_CASE("Validation sets: losses by name beside the first, whose numbers do not change") {
  const SmallRunFolder plain(8), several(8);
  REQUIRE(plain.run({"train"}).exit_code == 0);
  REQUIRE(several.run(train(several, kTwo)).exit_code == 0);
  const auto a = read_run(plain.folder / "run/run.h5"), b = read_run(several.folder / "run/run.h5");
  CHECK(a.validation_names.empty());
  CHECK(b.validation_names == std::vector<std::string>{"same", "trained on"});
  REQUIRE(a.evaluations.size() == b.evaluations.size());
  REQUIRE(b.named_losses.size() == b.evaluations.size());
  for (std::size_t i = 0; i < a.evaluations.size(); ++i) {
    CHECK(a.evaluations[i].loss == b.evaluations[i].loss);
    CHECK(b.named_losses[i][0] == b.evaluations[i].loss);
    CHECK(b.named_losses[i][1] != b.evaluations[i].loss);
  }
  for (std::size_t i = 0; i < a.steps.size(); ++i) CHECK(a.steps[i].loss == b.steps[i].loss);
  std::string csv;
  write_curves(several.folder / "run", [&](std::string_view text) { csv += text; });
  CHECK_THAT(csv, Contains("validation/trained on/loss"));
}

TEST_CASE("Validation sets: a run that was killed has all of their losses in the end") {
  const SmallRunFolder whole(12), killed(12);
  const auto first = whole.run(train(whole, kTwo));
  REQUIRE(first.exit_code == 0);
  for (const auto& prefix : kills_during(first.seconds, {0.6, 0.8})) {
    killed.run(train(killed, kTwo), prefix);
  }
  REQUIRE(killed.run(train(killed, kTwo)).exit_code == 0);
  CHECK(read_run(killed.folder / "run/run.h5").named_losses ==
        read_run(whole.folder / "run/run.h5").named_losses);
}

TEST_CASE("Validation sets: what is no map of names to files is refused with its place") {
  const SmallRunFolder small(4);
  const auto errors = [&](const std::string& names) {
    const auto result = small.run(train(small, names));
    CHECK(result.exit_code == 2);
    return result.errors;
  };
  CHECK_THAT(errors("[a, b]"), Contains("data.validations") && Contains("is not a map"));
  CHECK_THAT(errors("{{a/b: {0}/train.bin}}"), Contains("a name cannot hold '/'"));
  CHECK_THAT(errors("{{a: [x]}}"), Contains("'a'") && Contains("is not a text"));
  CHECK_THAT(errors("{{a: {0}/none.bin}}"), Contains("none.bin: there is no such token file"));
}
