// The hash under which runs go on.
#include "experiments/config/config_text.hpp"

#include "experiments/config/config_yaml.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

constexpr const char* kYaml = R"(name: older
data: {kind: gaussian_classes, features: 4, classes: 3, examples: 64, validation_examples: 16}
model: {family: mlp, inputs: 4, classes: 3, hidden: [5]}
optimizer: {rule: adamw, learning_rate: 1.0e-2}
trainer: {steps: 2, micro_batch_size: 8, global_batch_tokens: 8, threads: 1}
hessian: {each: tensor, lanczos_steps: 5, functions: [absolute]}
)";

std::string hash_with(const std::string& setting) {
  auto document = YamlDocument::parse(kYaml, "test");
  if (!setting.empty()) document.set(setting);
  return config_hash(document.run_config());
}

}  // namespace

TEST_CASE("A key that came later does not change the hash of older runs") {
  // Recorded from the program before it had the keys hessian.parts.names, order, vectors and
  // models: a run of that time is continued only under this hash.
  CHECK(hash_with("") == "bf182ddbe650e0d2");
  CHECK(hash_with("hessian.order=sampled") == hash_with(""));
  for (const std::string setting : {"hessian.order=sequential", "hessian.parts.names=[a]",
                                    "hessian.pairs.vectors=1", "hessian.models=[a]", "seed=2"}) {
    INFO(setting);
    CHECK(hash_with(setting) != hash_with(""));
  }
}
