// The Optimizer with steps over all tensors at once, on the CPU by the fibers of
// tests/optimizers/kernels, against its steps tensor by tensor.
#include <cmath>
#include <limits>

#include "core/io/atomic_file.hpp"
#include "core/memory/meta_memory.hpp"
#include "core/partition/partition_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/flat_problem.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

struct Run {
  Run(nlohmann::json fields, bool flat) : store(small_models()[4].spec()->layout(), at::kCPU) {
    fields["weight_decay"] = 0.1;
    fill_parameters(store);
    optimizer = std::make_unique<Optimizer>(optimizer_config(fields), store);
    if (flat) REQUIRE(optimizer->use_flat_steps(kernels::make_fiber_stepper));
  }
  StepReport step(int draw) {
    fill_gradients(store, draw);
    return optimizer->step(kRate);
  }

  ParameterStore store;
  std::unique_ptr<Optimizer> optimizer;
};

// Weights, state and reports after three steps. Sums of squares have other orders, and Lion and sgd
// are compared with LibTorch's operations, which round each product: a few units in the last place
// of weights of size 1 in each step.
void check_agrees(const nlohmann::json& fields) {
  constexpr double kTolerance = 1e-6;
  Run flat(fields, true), apart(fields, false);
  for (int draw = 0; draw < 3; ++draw) {
    const auto report = flat.step(draw), expected = apart.step(draw);
    CHECK(report.gradient_norm == Approx(expected.gradient_norm).epsilon(kTolerance));
    CHECK(report.update_norm == Approx(expected.update_norm).epsilon(1e-5));
  }
  CHECK(difference(flat.store.parameters(), apart.store.parameters()) < kTolerance);
  for (std::size_t k = 0; k < flat.optimizer->state().buffers().size(); ++k) {
    CHECK(difference(flat.optimizer->state().buffers()[k].second,
                     apart.optimizer->state().buffers()[k].second) < kTolerance);
  }
  CHECK(flat.optimizer->steps() == 3);
  const auto squares = flat.optimizer->squared_updates();
  const auto expected = apart.optimizer->squared_updates();
  REQUIRE(squares.size() == expected.size());
  for (std::size_t i = 0; i < squares.size(); ++i) {
    CHECK(squares[i] == Approx(expected[i]).epsilon(1e-4).margin(1e-12));
  }
}

nlohmann::json partitioned(const std::string& rule) {
  return {{"rule", "adam_mini"}, {"partition", {{"rule", rule}}}};
}

}  // namespace

TEST_CASE("flat optimizer: every rule that has a flat step takes the steps of its own form") {
  for (const std::string rule :
       {"adamw", "adam_mini", "blockwise_sgd", "sgd", "sgd_momentum", "lion"}) {
    INFO(rule);
    check_agrees({{"rule", rule}});
  }
  check_agrees({{"rule", "sgd"}, {"momentum", 0.9}, {"nesterov", true}});
}

TEST_CASE("flat optimizer: every structure of a partition, clipped and not") {
  for (const std::string rule : {"per_tensor", "per_column", "head_by_column", "factored",
                                 "factored_per_head", "per_element", "released_1_1_1"}) {
    INFO(rule);
    check_agrees(partitioned(rule));
  }
  auto unclipped = partitioned("adam_mini");
  unclipped["gradient_clip"] = 0.0;
  check_agrees(unclipped);
}

// What the model computes with is written by the step, or after it by publish().
TEST_CASE("flat optimizer: bfloat16 copies are written with the weights") {
  const auto layout = small_models()[4].spec()->layout();
  for (const std::string rule : {"adamw", "adam_mini", "lion"}) {
    INFO(rule);
    MixedPrecision mixed{{ParameterRole::norm}};
    ParameterStore apart(layout, at::kCPU, at::kFloat, mixed);
    mixed.flat_copies = true;
    ParameterStore flat(layout, at::kCPU, at::kFloat, mixed);
    const auto config = optimizer_config({{"rule", rule}});
    Optimizer by_kernel(config, flat), by_tensor(config, apart);
    REQUIRE(by_kernel.use_flat_steps(kernels::make_fiber_stepper));
    for (auto* store : {&flat, &apart}) fill_parameters(*store);
    for (int draw = 0; draw < 2; ++draw) {
      for (auto* store : {&flat, &apart}) fill_gradients(*store, draw);
      by_kernel.step(kRate);
      by_tensor.step(kRate);
    }
    for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
      INFO(layout.parameters()[i].name);
      const auto& x = flat.tensors()[i];
      CHECK(at::equal(x, flat.master(i).to(x.scalar_type())));
      CHECK(x.scalar_type() == apart.tensors()[i].scalar_type());
      CHECK(difference(x.to(at::kFloat), apart.tensors()[i].to(at::kFloat)) < 0.01);  // a bfloat16
    }
  }
}

// Every stored byte, given the same updates: AdamW's and Lion's are, as nothing is clipped and no
// second moment is shared.
TEST_CASE("flat optimizer: masters and state in fewer bits, with the bytes of steps by tensor") {
  const auto layout = small_models()[4].spec()->layout();
  const auto run = [&](const nlohmann::json& fields, MasterWeights format, bool flat,
                       const auto& look) {
    ParameterStore store(layout, at::kCPU, at::kFloat,
                         MixedPrecision{{ParameterRole::norm}, {}, format});
    fill_masters(store);
    Optimizer optimizer(optimizer_config(fields), store, 11);
    if (flat) REQUIRE(optimizer.use_flat_steps(kernels::make_fiber_stepper));
    for (int draw = 0; draw < 3; ++draw) {
      fill_gradients(store, draw);
      optimizer.step(kRate);
    }
    look(store, optimizer);
  };
  struct Bits {
    std::vector<at::Tensor> weights;
    NamedTensors state;
  };
  const auto bits = [&](const nlohmann::json& fields, MasterWeights format, bool flat) {
    Bits found;
    run(fields, format, flat, [&](const ParameterStore& store, const Optimizer& optimizer) {
      for (std::size_t i = 0; i < store.tensors().size(); ++i) {
        found.weights.push_back(store.tensors()[i].detach().clone());
        found.weights.push_back(store.master(i).clone());
      }
      for (const auto& [name, tensor] : optimizer.saved_state()) {
        found.state.emplace_back(name, tensor.clone());
      }
    });
    return found;
  };
  for (const auto format :
       {MasterWeights::fp32, MasterWeights::lossless_16bit, MasterWeights::residual_8bit,
        MasterWeights::kahan, MasterWeights::stochastic, MasterWeights::none}) {
    for (const std::string codec :
         {"fp32", "bf16", "dynamic_8bit", "companded_8bit", "dynamic_4bit", "fp8"}) {
      for (const std::string rule : {"adamw", "lion"}) {
        INFO(rule << ", " << codec << ", " << master_weights_names()[std::size_t(format)]);
        const nlohmann::json fields = {
            {"rule", rule},
            {"gradient_clip", 0.0},
            {"state", {{"first_moments", codec}, {"second_moments", codec}, {"smallest", 100}}}};
        if (rule == "lion" && codec != "fp32" && format != MasterWeights::fp32) continue;
        const auto flat = bits(fields, format, true), apart = bits(fields, format, false);
        REQUIRE(flat.state.size() == apart.state.size());
        bool same = true;
        for (std::size_t k = 0; k < flat.state.size(); ++k) {
          CHECK(flat.state[k].first == apart.state[k].first);
          same = same && at::equal(flat.state[k].second, apart.state[k].second);
        }
        for (std::size_t i = 0; i < flat.weights.size(); ++i) {
          same = same && at::equal(flat.weights[i], apart.weights[i]);
        }
        CHECK(same);
      }
    }
  }
}

TEST_CASE("flat optimizer: Adam-mini's first moments in fewer bits, its second ones shared") {
  // Unclipped: a factor that is off in the last place would round other moments to other codes.
  check_agrees({{"rule", "adam_mini"},
                {"gradient_clip", 0.0},
                {"state", {{"first_moments", "bf16"}, {"smallest", 100}}}});
  ParameterStore store(small_models()[4].spec()->layout(), at::kCPU);
  const auto takes = [&](const nlohmann::json& state) {
    return Optimizer(optimizer_config({{"rule", "adam_mini"}, {"state", state}}), store)
        .use_flat_steps(kernels::make_fiber_stepper);
  };
  CHECK(takes({{"first_moments", "dynamic_8bit"}}));
  CHECK(takes({{"second_moments", "dynamic_8bit"}, {"smallest", 1}}));
  // Codes that the device does not know.
  CHECK_FALSE(takes({{"first_moments", "codebook_8bit"}, {"smallest", 1}}));
}

// Shared second moments are sums in another order, so that a value beside a threshold has another
// code: weights differ by what a code is wide, a hundredth of a step of 1e-2, in few places.
TEST_CASE("flat optimizer: second moments that blocks share, in codes") {
  for (const std::string partition :
       {"adam_mini", "per_row", "per_column", "factored", "released_1_1_1"}) {
    for (const std::string codec : {"bf16", "dynamic_8bit", "companded_8bit", "fp8"}) {
      INFO(partition << ", " << codec);
      nlohmann::json fields = partitioned(partition);
      fields["gradient_clip"] = 0.0;
      fields["state"] = {{"second_moments", codec}, {"smallest", 4}};
      Run flat(fields, true), apart(fields, false);
      for (int draw = 0; draw < 3; ++draw) {
        flat.step(draw);
        apart.step(draw);
      }
      const auto moved = (flat.store.parameters() - apart.store.parameters()).abs();
      CHECK(moved.max().item<double>() < 1e-3);
      CHECK((moved > 1e-6).sum().item<double>() < 0.01 * double(moved.numel()));
      // Codes and scales are where those of the steps by tensor are.
      const auto expected = apart.optimizer->saved_state(), found = flat.optimizer->saved_state();
      REQUIRE(found.size() == expected.size());
      int codes = 0;
      for (std::size_t k = 0; k < found.size(); ++k) {
        const auto& [name, values] = expected[k];
        INFO(name);
        REQUIRE(found[k].first == name);
        const auto& others = found[k].second;
        if (values.scalar_type() == at::kFloat) {
          CHECK(difference(others, values) < 1e-4);
          continue;
        }
        ++codes;
        const auto unlike = (values != others).sum().item<double>();
        CHECK(unlike <= std::max(1.0, 0.05 * double(values.numel())));
      }
      CHECK(codes > 3);
    }
  }
}

TEST_CASE("flat optimizer: rates that change from step to step") {
  check_agrees({{"rule", "adam_mini"}, {"rates", {{"method", "blockwise_lr"}}}});
  check_agrees(
      {{"rule", "adamw"}, {"rates", {{"method", "llr"}, {"update_every", 2}, {"ramp_steps", 1}}}});
}

TEST_CASE("flat optimizer: sections of several tensors share a value") {
  const TemporaryFolder folder;
  const auto layout = small_models()[4].spec()->layout();
  auto tensors = make_partition(layout, "per_tensor").tensors();
  for (auto& tensor : tensors) {
    for (auto& section : tensor.sections) {
      if (section.role == ParameterRole::mlp_in || section.role == ParameterRole::mlp_out) {
        section.merged = 3;
      }
    }
  }
  const auto path = folder / "partition.yaml";
  write_file_atomically(
      path, partition_text(layout, {Partition(layout, "merged", std::move(tensors)), {}, {}, {}}));
  check_agrees({{"rule", "adam_mini"}, {"partition", {{"file", path.string()}}}});
}

TEST_CASE("flat optimizer: a gradient that is not finite is no step") {
  Run flat({{"rule", "adam_mini"}}, true), apart({{"rule", "adam_mini"}}, false);
  for (auto* run : {&flat, &apart}) {
    run->step(0);
    const auto before = run->store.parameters().clone();
    fill_gradients(run->store, 1);
    run->store.gradients()[3] = std::numeric_limits<float>::quiet_NaN();
    const auto report = run->optimizer->step(kRate);
    CHECK_FALSE(std::isfinite(report.gradient_norm));
    CHECK(report.update_norm == 0.0);
    CHECK(at::equal(run->store.parameters(), before));
    CHECK(run->optimizer->steps() == 1);
    run->step(2);
    CHECK(run->optimizer->steps() == 2);
  }
  CHECK(difference(flat.store.parameters(), apart.store.parameters()) < 1e-6);
}

TEST_CASE("flat optimizer: rates are measured once, also where the step is made again") {
  const nlohmann::json fields = {
      {"rule", "adamw"}, {"rates", {{"method", "llr"}, {"update_every", 2}, {"ramp_steps", 2}}}};
  Run flat(fields, true), apart(fields, false);
  for (auto* run : {&flat, &apart}) {
    for (int draw = 0; draw < 2; ++draw) run->step(draw);
    fill_gradients(run->store, 2);  // of the third step, which measures
    run->store.gradients()[3] = std::numeric_limits<float>::infinity();
    CHECK_FALSE(std::isfinite(run->optimizer->step(kRate).gradient_norm));
    run->step(2);
  }
  CHECK(difference(flat.store.parameters(), apart.store.parameters()) < 1e-6);
  const auto rates = flat.optimizer->learning_rates(), expected = apart.optimizer->learning_rates();
  for (std::size_t i = 0; i < rates.size(); ++i) {
    CHECK(rates[i] == Approx(expected[i]).epsilon(1e-4));  // of weights that differ by roundings
  }
}

TEST_CASE("flat optimizer: what has no such step keeps its own") {
  const auto takes = [](const nlohmann::json& fields) {
    ParameterStore store(small_models()[4].spec()->layout(), at::kCPU);
    return Optimizer(optimizer_config(fields), store).use_flat_steps(kernels::make_fiber_stepper);
  };
  CHECK(takes({{"rule", "adamw"}}));
  CHECK_FALSE(takes({{"rule", "muon"}}));
  CHECK_FALSE(takes({{"rule", "adafactor"}}));
  CHECK_FALSE(takes({{"rule", "adamw"}, {"clip_by", "value"}}));
  CHECK_FALSE(takes({{"rule", "sgd"}, {"decay", "coupled"}}));
  CHECK_FALSE(takes({{"rule", "sgd"}, {"freeze", {"norm"}}}));
}

TEST_CASE("flat optimizer: a rehearsal takes the windows of what is in fewer bits") {
  const auto layout = small_models()[4].spec()->layout();
  const auto bytes = [&](const nlohmann::json& fields, MasterWeights masters) {
    MetaMemory memory;
    const MixedPrecision mixed{{}, {}, masters};
    ParameterStore store(layout, at::kMeta, at::kFloat, mixed);
    Optimizer optimizer(optimizer_config(fields), store);
    const auto before = memory.allocated();
    optimizer.rehearse_first(at::kCPU);
    CHECK(memory.allocated() == before);
    optimizer.rehearse_first(at::kCUDA);
    return memory.allocated() - before;
  };
  // The model is less than a window, whose begin is aligned by up to three elements.
  const auto window = 4 * (layout.size() + 3);
  const nlohmann::json state = {{"first_moments", "dynamic_8bit"}, {"smallest", 1}};
  const nlohmann::json both = {
      {"first_moments", "bf16"}, {"second_moments", "bf16"}, {"smallest", 1}};
  CHECK(bytes({{"rule", "adam_mini"}}, MasterWeights::fp32) == 0);
  CHECK(bytes({{"rule", "adam_mini"}}, MasterWeights::lossless_16bit) == window);
  CHECK(bytes({{"rule", "adam_mini"}, {"state", state}}, MasterWeights::lossless_16bit) ==
        2 * window);
  CHECK(bytes({{"rule", "adamw"}, {"state", both}}, MasterWeights::lossless_16bit) == 3 * window);
  // Second moments that blocks share are float32 all at once.
  const auto values = make_partition(layout, "adam_mini").state_size();
  CHECK(bytes({{"rule", "adam_mini"}, {"state", both}}, MasterWeights::lossless_16bit) ==
        2 * window + 4 * values);
  CHECK(bytes({{"rule", "adam_mini"}, {"state", {{"second_moments", "bf16"}, {"smallest", 1}}}},
              MasterWeights::fp32) == 4 * values);
}
