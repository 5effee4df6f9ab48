// A learning rate per block: what it does to a step, its file, and what is refused.
#include <fmt/format.h>

#include <set>

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

// Every structure in one partition: labels on the first matrix, none on the key.
Partition mixed(const ParameterLayout& layout) {
  auto tensors = make_partition(layout, "adam_mini",
                                {{ParameterRole::value, "factored_per_head"},
                                 {ParameterRole::query, "head_by_column"},
                                 {ParameterRole::mlp_out, "per_element"},
                                 {ParameterRole::mlp_in, "per_column"}})
                     .tensors();
  auto& first = tensors[0].sections[0];
  std::vector<std::int32_t> labels(static_cast<std::size_t>(first.size()));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i / 5 % 3);
  first.structure = Structure::from_labels(labels);
  for (auto& tensor : tensors) {
    for (auto& section : tensor.sections) {
      if (section.role == ParameterRole::key) section.structure = Structure::none(3, 2);
    }
  }
  return Partition(layout, "mixed", std::move(tensors));
}

// 0.25, 0.5 .. 2 over the blocks in turn; one value for sections of tensors with an odd number.
BlockRates formula_rates(const Partition& partition) {
  auto rates = BlockRates::ones(partition);
  for (std::size_t t = 0; t < rates.tensors.size(); ++t) {
    for (std::size_t s = 0; s < rates.tensors[t].size(); ++s) {
      const auto count = t % 2 == 1 ? 1 : partition.tensors()[t].sections[s].block_count();
      auto& section = rates.tensors[t][s];
      section.rate.clear();
      for (std::int64_t b = 0; b < count; ++b) section.rate.push_back(0.25 * double(1 + b % 8));
      section.low = section.high = section.rate;
      for (auto& value : section.low) value *= 0.5;
      for (auto& value : section.high) value *= 2.0;
    }
  }
  return rates;
}

// One rate per element of a tensor.
at::Tensor by_element(const TensorPartition& tensor, const std::vector<SectionRates>& rates) {
  std::vector<double> of_block;
  for (std::size_t s = 0; s < rates.size(); ++s) {
    for (std::int64_t b = 0; b < tensor.sections[s].block_count(); ++b) {
      of_block.push_back(rates[s].of(b));
    }
  }
  return at::tensor(of_block, at::kDouble).index_select(0, at::tensor(tensor.labels(), at::kLong));
}

struct Files {
  TemporaryFolder folder;
  ParameterLayout layout = small_models()[4].spec()->layout();
  Partition partition = mixed(layout);
  BlockRates rates = formula_rates(partition);

  Files() {
    write_file_atomically(folder / "partition.yaml",
                          partition_text(layout, {partition, {}, {}, {}}));
    write(rates);
  }
  void write(const BlockRates& values) const {
    write_file_atomically(folder / "rates.yaml", block_rates_text(layout, partition, values));
  }
  nlohmann::json fields(const std::string& rule, bool with_rates) const {
    auto fields = smooth_options(rule);
    fields["weight_decay"] = 0.1;
    // Kernels sum a norm in another order, and some rules magnify the last bit of its factor.
    fields["gradient_clip"] = 0.0;
    // GaLore's kin decay what they have moved, which is bilinear in the rate.
    const std::set<std::string> later = {"galore", "fira", "apollo", "apollo_mini",
                                         "gwt",    "foam", "soap"};
    if (later.contains(rule)) fields["weight_decay"] = 0.0;
    if (with_rates) fields["block_lr"] = (folder / "rates.yaml").string();
    if (with_rates || update_rules().make(rule)->uses_partition()) {
      fields["partition"] = {{"file", (folder / "partition.yaml").string()}};
    }
    return fields;
  }
};

// Parameters after one step.
at::Tensor stepped(const Files& files, const std::string& rule, bool with_rates,
                   bool tensor_operations, double* moved = nullptr) {
  ParameterStore store(files.layout, at::kCPU);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config(files.fields(rule, with_rates)), store);
  if (tensor_operations) optimizer.use_tensor_operations();
  fill_gradients(store, 0);
  const auto report = optimizer.step(kRate);
  if (moved != nullptr) *moved = report.update_norm;
  return store.parameters().clone();
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("block rates: every block's step is its rate times the step without") {
  const Files files;
  for (const auto& rule : update_rules().names()) {
    ParameterStore start(files.layout, at::kCPU);
    fill_parameters(start);
    const auto w = start.parameters().to(at::kDouble);
    const auto plain = stepped(files, rule, false, false).to(at::kDouble) - w;
    for (const bool tensors : {false, true}) {
      INFO(rule << (tensors ? ", tensor operations" : ", kernels"));
      double moved = 0.0;
      const auto scaled = stepped(files, rule, true, tensors, &moved).to(at::kDouble) - w;
      for (std::size_t t = 0; t < files.layout.parameters().size(); ++t) {
        const auto& block = files.layout.parameters()[t];
        INFO(block.name);
        const auto of = [&](const at::Tensor& x) {
          return x.narrow(0, block.offset, block.size());
        };
        const auto wanted =
            of(plain) * by_element(files.partition.tensors()[t], files.rates.tensors[t]);
        // Steps of 1e-2 on weights up to 1.4: a unit in the last place of w, times rates up to 2.
        CHECK((of(scaled) - wanted).abs().max().item<double>() < 4e-7);
      }
      CHECK(moved == Approx(scaled.norm().item<double>()).epsilon(1e-5));
    }
  }
}

TEST_CASE("block rates: ones change nothing, not a bit") {
  const Files files;
  files.write(BlockRates::ones(files.partition));
  CHECK(at::equal(stepped(files, "adam_mini", true, false),
                  stepped(files, "adam_mini", false, false)));
}

TEST_CASE("blockwise_sgd: without momentum it is gradient descent with a rate per block") {
  const Files files;
  ParameterStore store(files.layout, at::kCPU);
  fill_parameters(store);
  auto fields = files.fields("blockwise_sgd", true);
  fields["momentum"] = 0.0;
  fields["weight_decay"] = 0.0;
  fields["gradient_clip"] = 0.0;
  Optimizer optimizer(optimizer_config(fields), store);
  CHECK(optimizer.state().buffers().size() == 1);
  const auto before = store.parameters().to(at::kDouble);
  fill_gradients(store, 0);
  const auto gradients = store.gradients().to(at::kDouble);
  optimizer.step(kRate);
  const auto after = store.parameters().to(at::kDouble);
  for (std::size_t t = 0; t < files.layout.parameters().size(); ++t) {
    const auto& block = files.layout.parameters()[t];
    const auto of = [&](const at::Tensor& x) { return x.narrow(0, block.offset, block.size()); };
    const auto rate = by_element(files.partition.tensors()[t], files.rates.tensors[t]) * kRate;
    const auto error = of(after) - (of(before) - rate * of(gradients));
    CHECK(error.abs().max().item<double>() < 4e-7);
  }
}

TEST_CASE("adam_mini: a section without a second moment steps along the average of gradients") {
  const Files files;
  ParameterStore store(files.layout, at::kCPU);
  fill_parameters(store);
  auto fields = files.fields("adam_mini", false);
  fields["weight_decay"] = 0.0;
  fields["gradient_clip"] = 0.0;
  Optimizer optimizer(optimizer_config(fields), store);
  CHECK(optimizer.state().buffers()[1].second.numel() == files.partition.state_size());
  for (int step = 0; step < 2; ++step) {
    const auto before = store.parameters().clone();
    fill_gradients(store, step);
    optimizer.step(kRate);
    const auto m = optimizer.state().buffers()[0].second;
    const double correction = step == 0 ? 0.1 : 0.19;  // 1 - 0.9^t
    for (std::size_t t = 0; t < files.layout.parameters().size(); ++t) {
      const auto& section = files.partition.tensors()[t].sections.front();
      if (section.structure.kind != Structure::Kind::none) continue;
      const auto& block = files.layout.parameters()[t];
      const auto of = [&](const at::Tensor& x) { return x.narrow(0, block.offset, block.size()); };
      const auto wanted = of(before) - of(m) * (kRate / correction);
      CHECK((of(store.parameters()) - wanted).abs().max().item<double>() < 2e-7);
    }
  }
}

TEST_CASE("block rates: the file reads back, and what does not fit is named") {
  const Files files;
  const auto path = files.folder / "rates.yaml";
  const auto again = read_block_rates(path, files.layout, files.partition);
  REQUIRE(again.tensors.size() == files.rates.tensors.size());
  for (std::size_t t = 0; t < again.tensors.size(); ++t) {
    for (std::size_t s = 0; s < again.tensors[t].size(); ++s) {
      CHECK(again.tensors[t][s].rate == files.rates.tensors[t][s].rate);
      CHECK(again.tensors[t][s].low == files.rates.tensors[t][s].low);
      CHECK(again.tensors[t][s].high == files.rates.tensors[t][s].high);
    }
  }
  const auto text = block_rates_text(files.layout, files.partition, files.rates);
  CHECK(block_rates_text(files.layout, files.partition, again) == text);
  const auto refused = [&](const std::string& changed) {
    write_file_atomically(path, changed);
    return input_error([&] { read_block_rates(path, files.layout, files.partition); });
  };
  const auto first = files.layout.parameters()[0].name;
  CHECK_THAT(refused(replaced(text, "0.25*1 0.5*1 0.75*1", "0.25*1 -0.5*1 0.75*1")),
             Contains("'-0.5' is not a rate of at least 0"));
  CHECK_THAT(refused(replaced(text, "0.25*1 0.5*1 0.75*1", "0.25*1 0.5*1")),
             Contains("tensor '" + first + "': rate has 2 values for 3 blocks"));
  CHECK_THAT(refused(replaced(text, "name: '" + first + "'", "name: 'other'")),
             Contains("the model has no tensor 'other'"));
  const auto own = partition_hash(files.layout, files.partition);
  CHECK_THAT(refused(replaced(text, own, std::string(64, '0'))),
             Contains("of the partition 000000000000, the run's is " + own.substr(0, 12)));
  CHECK_THAT(refused("format: other\n"), Contains("not a file of block rates"));
}
