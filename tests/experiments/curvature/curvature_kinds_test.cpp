// Every kind of curvature through every verb, on a small model of every family; and plans where the
// meta device cannot rehearse.
#include <fmt/format.h>

#include <filesystem>

#include "core/memory/meta_memory.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/curvature/spectrum.hpp"
#include "experiments/partitions/partition_discovery.hpp"
#include "experiments/rates/rate_search.hpp"
#include "experiments/training/memory_plan.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_oracle.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Family {
  std::string name, data, model;
};

std::vector<Family> families() {
  const std::string tokens =
      "{kind: markov_tokens, vocab_size: 8, sequence_length: 6, tokens: 400, validation_tokens: "
      "100}";
  return {{"gpt2", tokens, "{family: gpt2, n_layer: 1, n_head: 2, n_embd: 8}"},
          {"llama", tokens,
           "{family: llama, n_layer: 1, n_head: 2, n_kv_head: 1, n_embd: 8, "
           "intermediate_size: 12}"},
          {"mlp", "{kind: gaussian_classes, features: 5, classes: 3, examples: 64}",
           "{family: mlp, hidden: [6], activation: tanh}"},
          {"quadratic", "{kind: no_data}",
           "{family: quadratic, blocks: 2, block_size: 6, condition: 50.0}"}};
}

RunConfig config_of(const Family& family, const std::string& kind, const fs::path& output) {
  const auto yaml = fmt::format(R"(name: kinds
output: {}
data: {}
model: {}
optimizer: {{rule: adam_mini, learning_rate: 1.0e-2}}
trainer: {{steps: 2, micro_batch_size: 1, threads: 1}}
hessian: {{kind: {}, each: tensor, lanczos_steps: 4, eigenpairs: 1, trace_products: 4,
  functions: [effective_dimension], batch_size: 1, precision: fp64}}
discovery: {{vectors: 2, codes: 2, gradient_batches: 8, validation_vectors: 2, condition_blocks: 1}}
search_lr: {{method: curvature, samples: 2, products: 4, gradient_batches: 4}}
)",
                                output.string(), family.data, family.model, kind);
  return YamlDocument::parse(yaml, "kinds").run_config();
}

const ProductObserver kSilent = [](std::int64_t, const std::string&) {};

}  // namespace

TEST_CASE("Every kind of curvature runs in every verb on every family") {
  for (const auto& family : families()) {
    for (const std::string kind : {"hessian", "gauss_newton", "fisher"}) {
      INFO(family.name << ", " << kind);
      const TemporaryFolder folder;
      FormulaOracle unasked;
      const auto spectrum = resolve_spectrum(config_of(family, kind, folder.path() / "spectrum"));
      CHECK(spectrum.plan.memory.note.empty());
      CHECK(spectrum.plan.memory.peak > 0);
      const auto measured = measure_spectrum(spectrum, {kSilent});
      CHECK(measured.state == RunState::finished);
      for (const auto& row : measured.rows.eigenvalues) {
        CHECK((kind == "hessian" || row.value > -1e-9));
      }
      const auto search = resolve_rate_search(config_of(family, kind, folder.path() / "rates"));
      CHECK(search.memory.note.empty());
      CHECK(search_rates(search, unasked, kSilent, never_stop).finished);
      if (family.name == "quadratic") continue;  // it has no matrix to cut
      const auto discovery =
          resolve_discovery(config_of(family, kind, folder.path() / "partition"));
      CHECK(discovery.memory.note.empty());
      CHECK(discover_partition(discovery, unasked, kSilent, never_stop).finished);
    }
  }
}

// ---- without a meta kernel
// -----------------------------------------------------------------------

TEST_CASE("What cannot be rehearsed is said, other errors pass") {
  const auto x = at::empty({3}, at::TensorOptions(at::kDouble).device(at::kMeta));
  CHECK(rehearse([&] { at::empty_like(x).add_(x); }).empty());
  CHECK(rehearse([&] { at::logsumexp(x, {0}); }).empty());
  // Operators without a kernel there, and one that asks for a value.
  CHECK_THAT(rehearse([&] { at::histc(x); }), Contains("no meta kernel for aten::histc"));
  CHECK_THAT(rehearse([&] { x.sum().item<double>(); }), Contains("memory cannot be rehearsed"));
  CHECK_THROWS_AS(rehearse([] { throw InputError("mine"); }), InputError);
  CHECK_THROWS_AS(rehearse([&] { at::add(at::ones({2}), at::ones({3})); }), c10::Error);
}

namespace {

// A model that asks LibTorch for an operator without a meta kernel.
class UnrehearsableModel : public Model {
 public:
  UnrehearsableModel(const ModelSpec& inner, const ParameterStore& store)
      : inner_(inner.build(store)) {}
  at::Tensor features(const at::Tensor& inputs, ForwardContext& context) const override {
    const auto x = inner_->features(inputs, context);
    return x + 0.0 * at::histc(x.detach(), 2).sum();
  }
  const Linear& head() const override { return inner_->head(); }

 private:
  std::unique_ptr<Model> inner_;
};

class UnrehearsableSpec : public ModelSpec {
 public:
  explicit UnrehearsableSpec(std::unique_ptr<ModelSpec> inner) : inner_(std::move(inner)) {}
  std::string family() const override { return inner_->family(); }
  std::string doc() const override { return inner_->doc(); }
  void visit(FieldVisitor& v) override { inner_->visit(v); }
  void adapt_to(const DataShape& shape) override { inner_->adapt_to(shape); }
  ParameterLayout layout() const override { return inner_->layout(); }
  std::int64_t context_length() const override { return inner_->context_length(); }
  std::unique_ptr<Model> build(const ParameterStore& store) const override {
    return std::make_unique<UnrehearsableModel>(*inner_, store);
  }
  std::unique_ptr<ModelSpec> clone() const override {
    return std::make_unique<UnrehearsableSpec>(inner_->clone());
  }

 private:
  std::unique_ptr<ModelSpec> inner_;
};

}  // namespace

TEST_CASE("A plan of products falls back to what lasts, with a note") {
  const auto small = small_models().front();
  const UnrehearsableSpec spec(small.spec());
  for (const auto kind :
       {CurvatureKind::hessian, CurvatureKind::gauss_newton, CurvatureKind::fisher}) {
    const auto memory =
        product_memory(spec, at::kFloat, small_batch(small), 2, {ProductMethod::kept_graph, kind});
    CHECK_THAT(memory.note, Contains("no meta kernel for aten::histc"));
    CHECK(memory.model == 2 * 4 * spec.layout().size());
    CHECK(memory.peak == 2 * memory.model);
  }
}

TEST_CASE("A plan of a run falls back to what lasts, with a note") {
  const TemporaryFolder folder;
  auto config = config_of(families().front(), "hessian", folder.path());
  const auto known = plan_memory(config);
  CHECK(known.note.empty());
  config.model.spec =
      std::unique_ptr<ModelSpec>(std::make_unique<UnrehearsableSpec>(config.model.spec->clone()));
  const auto plan = plan_memory(config);
  CHECK_THAT(plan.note, Contains("no meta kernel for aten::histc"));
  CHECK(plan.parameter_bytes == known.parameter_bytes);
  CHECK(plan.peak_bytes == known.peak_bytes - known.activation_bytes);
  CHECK(plan.activation_bytes == 0);
}
