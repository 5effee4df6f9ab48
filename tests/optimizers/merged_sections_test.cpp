// Sections of several tensors with one second moment, and Adam's limit beta2 = 1.
#include <fmt/format.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/partition/partition_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

bool is_mlp(ParameterRole role) {
  return role == ParameterRole::mlp_in || role == ParameterRole::mlp_out;
}

// Both matrices of every layer's MLP one block, with one value for all of them where `merged`.
Partition whole_mlps(const ParameterLayout& layout, bool merged) {
  auto tensors = make_partition(layout, "adam_mini",
                                {{ParameterRole::mlp_in, "per_tensor"},
                                 {ParameterRole::mlp_out, "per_tensor"}})
                     .tensors();
  for (auto& tensor : tensors) {
    for (auto& section : tensor.sections) {
      if (merged && is_mlp(section.role)) section.merged = 5;
    }
  }
  return Partition(layout, "whole", std::move(tensors));
}

struct Run {
  TemporaryFolder folder;
  ParameterLayout layout = small_models()[2].spec()->layout();  // without biases
  ParameterStore store{layout, at::kCPU};
  std::unique_ptr<Optimizer> optimizer;

  Run(const Partition& partition, bool fused, double clip = 0.0) {
    fill_parameters(store);
    const auto path = folder / "partition.yaml";
    write_file_atomically(path, partition_text(layout, {partition, {}, {}, {}}));
    optimizer =
        std::make_unique<Optimizer>(optimizer_config({{"rule", "adam_mini"},
                                                      {"gradient_clip", clip},
                                                      {"weight_decay", 0.1},
                                                      {"partition", {{"file", path.string()}}}}),
                                    store);
    if (!fused) optimizer->use_tensor_operations();
  }
  void step(int count) {
    for (int i = 0; i < count; ++i) {
      fill_gradients(store, i);
      optimizer->step(kRate);
    }
  }
  // exp_avg_sq of the sections of MLPs, and what it is to be after one step.
  std::vector<double> values() const {
    std::vector<double> found;
    for (const auto& tensor : optimizer->partition().tensors()) {
      for (const auto& s : tensor.sections) {
        if (is_mlp(s.role)) {
          found.push_back(optimizer->state().buffers()[1].second[s.state_offset].item<double>());
        }
      }
    }
    return found;
  }
  double mean_square(double scale) const {
    double sum = 0.0, count = 0.0;
    for (const auto& parameter : layout.parameters()) {
      if (!is_mlp(parameter.role)) continue;
      const auto g =
          store.gradients().narrow(0, parameter.offset, parameter.size()).to(at::kDouble);
      sum += (g * scale).square().sum().item<double>();
      count += double(parameter.size());
    }
    return sum / count;
  }
};

}  // namespace

TEST_CASE("Merged sections share the mean over the elements of all of them") {
  const auto layout = small_models()[2].spec()->layout();
  Run run(whole_mlps(layout, true), true);
  run.step(1);
  const auto values = run.values();
  REQUIRE(values.size() == 4);  // two layers, two matrices
  // One rounding of the sum and a few of the average, all relative.
  const double expected = 0.05 * run.mean_square(1.0);
  for (const double v : values) CHECK(v == Approx(expected).epsilon(1e-6));
  // With clipping the squares are of the clipped gradient.
  Run clipped(whole_mlps(layout, true), true, 1e-3);
  clipped.step(1);
  const double norm = clipped.store.gradients().to(at::kDouble).norm().item<double>();
  CHECK(clipped.values()[0] ==
        Approx(0.05 * clipped.mean_square(1e-3 / (norm + 1e-6))).epsilon(1e-5));
}

TEST_CASE("Merged sections agree in both forms, and differ from separate ones") {
  const auto layout = small_models()[2].spec()->layout();
  Run fused(whole_mlps(layout, true), true), plain(whole_mlps(layout, true), false);
  Run separate(whole_mlps(layout, false), true);
  for (auto* run : {&fused, &plain, &separate}) run->step(6);
  const auto difference = (fused.store.parameters() - plain.store.parameters()).abs();
  // As in optimizer_test.cpp: a few dozen roundings a step of weights below 1 and steps of 0.01.
  CHECK(difference.max().item<double>() < 3e-6);
  CHECK((fused.store.parameters() - separate.store.parameters()).abs().max().item<double>() > 1e-3);
  const auto values = fused.values();
  for (const double v : values) CHECK(v == values[0]);
  // What is not merged is as it was.
  for (const auto& parameter : layout.parameters()) {
    if (is_mlp(parameter.role)) continue;
    CHECK(at::equal(fused.store.parameters().narrow(0, parameter.offset, parameter.size()),
                    separate.store.parameters().narrow(0, parameter.offset, parameter.size())));
  }
}

TEST_CASE("Only whole sections can be merged, and the file says which") {
  const auto layout = small_models()[2].spec()->layout();
  auto tensors = whole_mlps(layout, true).tensors();
  const TemporaryFolder folder;
  const auto path = folder / "partition.yaml";
  write_file_atomically(path, partition_text(layout, {whole_mlps(layout, true), {}, {}, {}}));
  const auto read = read_partition(path, layout);
  std::int64_t merged = 0;
  for (const auto& tensor : read.partition.tensors()) {
    for (const auto& section : tensor.sections) merged += section.merged == 5 ? 1 : 0;
  }
  CHECK(merged == 4);
  CHECK(read.hash != partition_hash(layout, whole_mlps(layout, false)));
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    auto& section = tensors[t].sections[0];
    if (section.merged < 0 || section.rows < 2) continue;
    section.structure = Structure::tiles(1, section.columns);
    CHECK_THAT(
        input_error([&] { Partition(layout, "rows", tensors); }),
        Contains(layout.parameters()[t].name) && Contains("merged sections are one tile each"));
    break;
  }
}

TEST_CASE("beta2 = 1 keeps the first squared gradient") {
  const auto layout = small_models()[2].spec()->layout();
  for (const std::string rule : {"adamw", "adam_mini"}) {
    for (const bool fused : {true, false}) {
      INFO(rule << " fused " << fused);
      ParameterStore store(layout, at::kCPU);
      fill_parameters(store);
      Optimizer optimizer(optimizer_config({{"rule", rule},
                                            {"beta1", 0.0},
                                            {"beta2", 1.0},
                                            {"eps", 1e-12},
                                            {"gradient_clip", 0.0},
                                            {"weight_decay", 0.0}}),
                          store);
      if (!fused) optimizer.use_tensor_operations();
      fill_gradients(store, 0);
      optimizer.step(kRate);
      const auto first = optimizer.state().buffers()[1].second.clone();
      const auto g = store.gradients().clone();
      if (rule == "adamw") CHECK(at::allclose(first, g.square(), 1e-6, 0.0));
      const auto before = store.parameters().clone();
      fill_gradients(store, 1);
      optimizer.step(kRate);
      CHECK(at::equal(optimizer.state().buffers()[1].second, first));
      if (rule != "adamw") continue;
      // w' - w = -lr g_2 / |g_1|: relative to the step a few roundings, and one of w.
      const auto expected = -kRate * store.gradients() / g.abs();
      const auto found = store.parameters() - before;
      const auto allowed = 1e-6 * expected.abs() + 1.2e-7 * before.abs() + 1e-12;
      CHECK(((found - expected).abs() <= allowed).all().item<bool>());
    }
  }
}
