// What a checkpoint says of its model, with and without the run's configuration beside it.
#include "experiments/config/model_source.hpp"

#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Trained : SmallRunFolder {
  Trained() : SmallRunFolder(4) { REQUIRE(run({"train"}).exit_code == 0); }
  fs::path run_folder() const { return folder / "run"; }
  fs::path checkpoint() const { return checkpoint_folder(run_folder(), 4); }
  void change_marker(const std::function<void(nlohmann::ordered_json&)>& change) const {
    auto marker = read_json_file(checkpoint() / "checkpoint.json");
    change(marker);
    write_file_atomically(checkpoint() / "checkpoint.json", marker.dump(2));
  }
};

}  // namespace

TEST_CASE("model source: a checkpoint says its family and options itself") {
  const Trained trained;
  const auto before = open_model(trained.checkpoint());
  fs::remove(trained.run_folder() / "config.yaml");
  const auto after = open_model(trained.checkpoint());
  CHECK(after.spec->family() == "llama");
  CHECK(after.spec->layout().size() == before.spec->layout().size());
  CHECK(after.companions.folder == before.companions.folder);
  CHECK(after.step == 4);
}

TEST_CASE("model source: checkpoints that do not say it have the run's configuration") {
  const Trained trained;
  const auto size = open_model(trained.checkpoint()).spec->layout().size();
  trained.change_marker([](auto& marker) { marker.erase("model"); });
  CHECK(open_model(trained.checkpoint()).spec->layout().size() == size);
}

TEST_CASE("model source: damaged options are refused with their place") {
  const Trained trained;
  trained.change_marker([](auto& marker) { marker["model"]["options"]["n_layer"] = 1e300; });
  CHECK_THAT(input_error([&] { open_model(trained.checkpoint()); }),
             Contains("checkpoint.json") && Contains("n_layer is 1e+300") &&
                 Contains("damaged checkpoint"));
}
