// Ten steps of every rule against a public implementation of it, or against its paper's formulas in
// double: tests/golden/rules/NAME.safetensors, which record_rules.py writes and whose metadata says
// which. Rules that golden_test.cpp compares on whole models are not among them.
#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <set>

#include "core/base/json_fields.hpp"
#include "core/io/safetensors.hpp"
#include "optimizers/replay.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
namespace fs = std::filesystem;

namespace {

const fs::path kFolder = BLOCKWISE_SOURCE_DIR "/tests/golden/rules";

const std::set<std::string> kOnWholeModels = {"adamw", "adam_mini", "lomo", "muon", "galore"};
// Ours, with a parameter that has no counterpart elsewhere; optimizer_test.cpp and
// block_rates_test.cpp have their arithmetic.
const std::set<std::string> kOurOwn = {"sgd_momentum", "blockwise_sgd"};

// 1e-6 of a weight and of the way it may have come, unless a rule magnifies roundings.
double tolerance_of(const std::string& rule) {
  if (rule == "came") return 2e-5;  // divides by a difference of numbers that are nearly equal
  // Networks: steps of some ten times the rate are differences of larger products.
  if (rule == "adafactor_mlp" || rule == "mlp_lopt") return 1e-5;
  if (rule == "apollo_mini") return 1e-5;  // steps are sqrt(128) times as long
  if (rule == "normuon") return 1e-5;      // polynomials that multiply a rounding by 3.4 five times
  // Powers of a matrix that float32 rounds at every step.
  if (rule == "dion") return 1e-5;
  // What is outside the span of the factors is a difference of nearly equal numbers.
  if (rule.starts_with("ada_pm")) return 2e-4;
  // Decompositions and roots of small eigenvalues stand between gradient and step.
  if (rule == "ldadam" || rule == "soap" || rule == "shampoo") return 1e-4;
  return 1e-6;
}

std::set<std::string> recorded_rules() {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    const auto name = entry.path().stem().string();
    if (name != "inputs") names.insert(name);
  }
  return names;
}

// The inputs of all rules, with what the reference drew.
Recording inputs_of(const SafetensorsFile& expected) {
  auto inputs = read_safetensors(kFolder / "inputs.safetensors");
  for (const auto& [key, tensor] : expected.tensors) {
    if (!key.starts_with("param/")) inputs.tensors.emplace_back(key, tensor);
  }
  const testing::TemporaryFolder folder;
  write_safetensors(folder / "recorded.safetensors", inputs.tensors, inputs.metadata);
  return read_recording(folder / "recorded.safetensors");
}

double step_number(const std::string& key) { return std::stod(key.substr(key.find('/') + 1)); }

}  // namespace

TEST_CASE("recorded rules: every rule is compared with something else") {
  auto compared = recorded_rules();
  compared.insert(kOnWholeModels.begin(), kOnWholeModels.end());
  compared.insert(kOurOwn.begin(), kOurOwn.end());
  for (const auto& entry : update_rules()) {
    INFO(entry.name);
    CHECK(compared.contains(entry.name));
  }
}

TEST_CASE("recorded rules: ten steps are those of the reference") {
  for (const auto& name : recorded_rules()) {
    const auto expected = read_safetensors(kFolder / (name + ".safetensors"));
    INFO(name << ": " << expected.metadata.at("reference"));
    OptimizerConfig config;
    const auto options = nlohmann::json::parse(expected.metadata.at("optimizer"));
    config.rule = options.at("rule");
    set_from_json(config, options);
    const auto ours = replay(inputs_of(expected), config, 0);
    std::map<std::string, at::Tensor> tensors(ours.tensors.begin(), ours.tensors.end());
    std::size_t compared = 0;
    for (const auto& [key, tensor] : expected.tensors) {
      if (!key.starts_with("param/")) continue;
      ++compared;
      const auto reference = tensor.to(at::kDouble);
      const auto way = config.learning_rate * step_number(key.substr(0, key.rfind('/')));
      const auto error =
          (tensors.at(key).to(at::kDouble) - reference).abs() / (reference.abs() + way);
      INFO(key);
      CHECK(error.max().item<double>() < tolerance_of(name));
    }
    CHECK(compared == 50);  // ten steps of five parameters
  }
}
