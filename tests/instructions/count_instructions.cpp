// Runs each kernel that a step spends its time in once under callgrind, which counts instructions:
// a count does not depend on what else the machine does, as a time does. Prints the elements of
// each case as JSON; check_counts.py divides. Under valgrind the kernels are those for AVX2.
#include <fmt/format.h>
#include <valgrind/callgrind.h>

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/parameters/master_weights.hpp"
#include "core/parameters/parameter_store.hpp"
#include "optimizers/state/state_codec.hpp"
#include "tests/support/optimizer_setup.hpp"

namespace blockwise::testing {
namespace {

constexpr std::int64_t kRows = 1024, kColumns = 256, kElements = kRows * kColumns;

class Counts {
 public:
  // Once before it is counted: what is allocated or chosen at the first call is no kernel's.
  void add(const std::string& name, const std::function<void()>& kernel) {
    kernel();
    CALLGRIND_ZERO_STATS;
    kernel();
    CALLGRIND_DUMP_STATS_AT(name.c_str());
    elements_[name] = kElements;
  }
  void print() const { std::printf("%s\n", elements_.dump().c_str()); }

 private:
  nlohmann::ordered_json elements_;
};

ParameterLayout one_matrix() {
  Parameter matrix;
  matrix.name = "w";
  matrix.shape = {kRows, kColumns};
  matrix.role = ParameterRole::query;
  matrix.heads = {16, kRows / 16};
  return ParameterLayout({matrix});
}

// As many elements in 64 tensors of 4,096.
ParameterLayout many_matrices() {
  std::vector<Parameter> matrices(64);
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    matrices[i].name = fmt::format("w{}", i);
    matrices[i].shape = {kRows / 64, kColumns};
    matrices[i].role = ParameterRole::mlp_in;
  }
  return ParameterLayout(matrices);
}

// One step, its norm and clipping included.
void count_step(Counts& counts, const std::string& name, nlohmann::json fields,
                const ParameterLayout& layout = one_matrix()) {
  fields["gradient_clip"] = 1.0;
  fields["weight_decay"] = 0.1;
  ParameterStore store(layout, at::kCPU);
  fill_parameters(store);
  fill_gradients(store, 1);
  Optimizer optimizer(optimizer_config(fields), store, 1);
  counts.add("step " + name, [&] { optimizer.step(1e-3); });
}

void count_steps(Counts& counts) {
  for (const auto* rule : {"adamw", "lion", "nadamw", "sgd_momentum"}) {
    count_step(counts, rule, {{"rule", rule}});
  }
  for (const auto* partition :
       {"adam_mini", "per_row", "per_column", "per_head", "per_tensor", "factored"}) {
    count_step(counts, std::string("adam_mini, ") + partition,
               {{"rule", "adam_mini"}, {"partition", {{"rule", partition}}}});
  }
  for (const auto* rule : {"adamw", "adam_mini"}) {
    count_step(counts, std::string(rule) + ", 64 tensors", {{"rule", rule}}, many_matrices());
  }
}

void count_codec(Counts& counts, const std::string& name, StateUse use) {
  const bool first = use == StateUse::average;
  StateSpec spec;
  spec.name = "moment";
  spec.shape = {kRows, kColumns};
  spec.use = use;
  const auto codec = make_state_codec(name, spec);
  std::vector<at::Tensor> stored;
  for (const auto& part : codec->parts(kElements)) {
    stored.push_back(at::zeros({part.size}, part.type));
  }
  const auto values = formula_values(1, kElements).to(at::kFloat);
  const auto moments = first ? values : values.square();
  const auto what = fmt::format("{}, {} moments", name, first ? "first" : "second");
  counts.add("write " + what, [&] { codec->encode(moments, stored, 1); });
  const auto read = at::empty_like(values);
  counts.add("read " + what, [&] { codec->decode(stored, read); });
}

void count_codecs(Counts& counts) {
  for (const auto& entry : state_codecs()) {
    const auto codec = entry.make();
    for (const auto use : codec->moments) count_codec(counts, codec->name, use);
  }
}

void count_masters(Counts& counts) {
  const auto master = formula_values(2, kElements).to(at::kFloat);
  for (const auto& name : master_weights_names()) {
    const auto format = master_weights_from_name(name);
    if (format == MasterWeights::fp32) continue;
    SplitMaster split{at::zeros({kElements}, at::kBFloat16), {}};
    if (const auto type = residual_type(format)) split.residual = at::zeros({kElements}, *type);
    counts.add("split master, " + name, [&] { split_master(format, master, split, 1); });
    const auto joined = at::empty_like(master);
    counts.add("join master, " + name, [&] { join_master(format, split, joined); });
  }
}

}  // namespace
}  // namespace blockwise::testing

int main() {
  using namespace blockwise::testing;
  const at::NoGradGuard no_grad;
  Counts counts;
  CALLGRIND_START_INSTRUMENTATION;
  count_steps(counts);
  count_codecs(counts);
  count_masters(counts);
  CALLGRIND_STOP_INSTRUMENTATION;
  counts.print();
}
