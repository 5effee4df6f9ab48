// What a measurement that was stopped may not go on from.
#include "experiments/config/measured_hash.hpp"

#include <fmt/format.h>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Measured : SmallRunFolder {
  Measured() : SmallRunFolder(4) {}
  std::string hash(const std::string& setting = "") const {
    auto document = YamlDocument::load(config);
    if (!setting.empty()) document.set(setting);
    return measured_hash(document.run_config());
  }
};

}  // namespace

TEST_CASE("measured hash: follows the configuration and the content of the data") {
  const Measured m;
  const auto before = m.hash();
  CHECK(before.size() == 16);
  CHECK(m.hash() == before);
  CHECK(m.hash("seed=7") != before);
  const auto file = m.folder / "validation.bin";
  auto bytes = read_text_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomically(file, bytes);
  CHECK(m.hash() != before);
}

TEST_CASE("measured hash: follows the run whose newest weights are measured") {
  const Measured m;
  REQUIRE(m.run({"train", "--set", "schedule.name=constant"}).exit_code == 0);
  const auto model = fmt::format("model={{from: {}}}", (m.folder / "run").string());
  const auto before = m.hash(model);
  CHECK(m.hash(model) == before);
  REQUIRE(
      m.run({"train", "--set", "schedule.name=constant", "--set", "trainer.steps=6"}).exit_code ==
      0);
  CHECK(m.hash(model) != before);
}
