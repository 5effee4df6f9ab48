// The second moment of the gradient: of which examples, and where a mask leaves no target.
#include "experiments/curvature/moment_batches.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kLength = 16, kExamples = 8;

struct Moments {
  SmallRunFolder small{4};
  ResolvedRun run;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  // Four batches of eight examples in two micro-batches.
  MomentBatches batches{4, 0, 2, 4, 4, ExampleOrder::sequential};

  // One byte of the mask per token; empty: no mask.
  explicit Moments(const std::string& mask = "") {
    if (!mask.empty()) write_file_atomically(small.folder / "train.mask", mask);
    auto document = YamlDocument::load(small.config);
    run = resolve(document.run_config());
    store = std::make_unique<ParameterStore>(run.layout, at::kCPU);
    store->initialize(1);
    model = run.config.model.spec->build(*store);
  }

  SecondMoments found(const WorkWatch& watch = {}) {
    return second_moments({*model, *store, *run.data}, batches, watch);
  }
  // Of a batch's examples at once: the mean over its targets.
  at::Tensor squared_by_hand(std::int64_t batch) {
    ForwardContext context;
    const auto examples = run.data->sequential_examples(batch * kExamples, kExamples);
    const auto loss = model->loss(examples, context);
    std::vector<at::Tensor> flat;
    for (const auto& g : torch::autograd::grad({loss}, store->tensors())) {
      flat.push_back(g.reshape({-1}));
    }
    return at::cat(flat).to(at::kDouble).square();
  }
};

// Float32 gradients, summed in another order, squared.
void check_close(const at::Tensor& found, const at::Tensor& expected) {
  REQUIRE(found.sizes() == expected.sizes());
  CHECK((found - expected).abs().max().item<double>() < 1e-5 * expected.max().item<double>());
}

}  // namespace

TEST_CASE("Second moments take their examples in hessian.order") {
  Moments m;
  const auto found = m.found();
  REQUIRE(found.groups.size() == 4);
  CHECK(found.left_out == 0);
  for (std::int64_t b = 0; b < 4; ++b) {
    check_close(found.groups[std::size_t(b)], m.squared_by_hand(b));
  }
  m.batches.order = ExampleOrder::sampled;
  CHECK_FALSE(at::allclose(m.found().groups[0], found.groups[0]));
  const auto config = [&] {
    auto document = YamlDocument::load(m.small.config);
    document.set("hessian.order=sequential");
    return document.run_config();
  }();
  CHECK(run_moment_batches(config, kLength, 4, 1).order == ExampleOrder::sequential);
  CHECK(hessian_moment_batches(config.hessian, 4, 0).order == ExampleOrder::sequential);
}

TEST_CASE("Second moments, the Hessian's samples and other samples' moments share no example") {
  HessianConfig config;
  config.batches = 3;
  config.batch_size = 2;
  constexpr std::int64_t kHessian = 6;
  using Range = std::pair<std::int64_t, std::int64_t>;
  const auto moments = [&](std::int64_t sample) {
    const auto batches = hessian_moment_batches(config, 10, sample);
    return Range{batches.first,
                 batches.first + batches.of_group() * kMomentGroups * batches.size()};
  };
  // Of a search: what it is of, what validates it, its moments.
  for (const std::int64_t sample : {0, 1, 2}) {
    const Range own{sample * kHessian, (sample + 2) * kHessian};
    CHECK(moments(sample).first >= own.second);
  }
  CHECK(moments(1).first >= moments(0).second);
  CHECK(moments(2).first >= moments(1).second);
  // Behind all samples of a search for rates.
  const Moments m;
  auto run = m.run.config;
  run.hessian.batches = 5;
  run.hessian.batch_size = 4;
  CHECK(run_moment_batches(run, kLength, 4, 3).first >= 3 * 5 * 4);
}

TEST_CASE("Second moments of sequential data end with a sentence where the data end") {
  Moments m;  // 6000 tokens: 374 examples
  m.batches.count = 44;
  CHECK_NOTHROW(require_moment_examples(m.batches, *m.run.data));
  m.batches.count = 48;
  CHECK_THROWS_WITH(require_moment_examples(m.batches, *m.run.data),
                    Contains("the training data have 374") && Contains("takes 384 behind 0"));
  m.batches.order = ExampleOrder::sampled;
  CHECK_NOTHROW(require_moment_examples(m.batches, *m.run.data));
}

TEST_CASE("Second moments end before the micro-batch at which a stop is asked for") {
  Moments m;  // four batches of two micro-batches
  std::int64_t asked = 0, batches = 0;
  const WorkWatch watch = {[&] { return ++asked == 6; }, [&] { ++batches; }};
  CHECK_THROWS_AS(m.found(watch), Stopped);
  CHECK(asked == 6);
  CHECK(batches == 2);
  asked = -100;
  CHECK(m.found(watch).groups.size() == 4);
  CHECK(batches == 6);
}

// Of eight batches number 1 has no target, and number 2 few in its first half.
TEST_CASE("A batch without a target is left out of the second moment, and counted") {
  std::string mask(6000, '\1');
  constexpr auto kTokens = std::size_t(kLength * kExamples);
  for (std::size_t i = kTokens; i <= 2 * kTokens; ++i) mask[i] = '\0';
  for (std::size_t i = 2 * kTokens; i < 2 * kTokens + 60; ++i) mask[i] = '\0';
  Moments m(mask);
  m.batches.count = 8;
  const auto found = m.found();
  CHECK(found.left_out == 1);
  check_close(found.groups[1], m.squared_by_hand(5));
  check_close(found.groups[2], (m.squared_by_hand(2) + m.squared_by_hand(6)) / 2.0);
  m.batches.count = 4;
  CHECK_THROWS_WITH(m.found(), Contains("leaves no target that counts in one of 4 groups"));
}

TEST_CASE("search-lr says how many batches a mask took from mean(v)") {
  const SmallRunFolder small(4);
  std::string mask(6000, '\1');
  for (std::size_t i = 0; i < 4 * 16 * 8 + 1; ++i) mask[i] = '\0';
  write_file_atomically(small.folder / "train.mask", mask);
  const auto result =
      small.run({"search-lr", "--method", "mean_v", "--output", (small.folder / "found").string(),
                 "--set", "optimizer.rule=blockwise_sgd", "--set", "hessian.order=sequential",
                 "--set", "hessian.batch_size=4", "--set", "hessian.batches=1", "--set",
                 "search_lr.gradient_batches=16"});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  // The first batch of eight belongs to the Hessian.
  CHECK_THAT(result.output, Contains("3 of them have no target that counts and are left out"));
}
