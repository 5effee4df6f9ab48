// BAdam (Luo, Yu and Li, arXiv 2404.02827, Algorithm 1), in the form of the package badam: AdamW on
// one block of layers at a time; all others rest.
//   blocks: the embeddings (include_embedding), each layer, the head with all that is in no layer
//   (include_head); what is in no block never changes
//   every switch_every steps the next block's turn comes, with m = v = 0; s counts its steps
//   m, v and the step as in adamw.cpp, with s in the place of the step's number
// order: descending from the last block, ascending from the first, or random, every block once
// before any comes again. A model without layers is one block but for its tables and head.
// Deviations: the package's first block has a step less than the others; gradients of resting
// blocks are computed all the same, and count in the norm that clipping takes. State: 8 bytes per
// parameter of the largest block, lent to the one whose turn it is.
#include <ATen/ATen.h>

#include <limits>

#include "optimizers/adam_options.hpp"
#include "optimizers/fused_sections.hpp"
#include "optimizers/random_draws.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct BAdamOptions {
  std::int64_t switch_every = 50;
  std::string order = "descending";
  bool include_embedding = false;
  bool include_head = false;
  AdamOptions adam{0.9, 0.999, 1e-8};

  void visit(FieldVisitor& v) {
    v.integer({"switch_every", "steps of a block before the next one's turn"}, switch_every,
              {1, std::int64_t{1} << 40});
    v.choice({"order", "of the blocks; random: another order every time all have had their turn"},
             order, {"descending", "ascending", "random"});
    v.boolean({"include_embedding", "token and position tables are a block"}, include_embedding);
    v.boolean({"include_head", "the head and all that is in no layer are a block"}, include_head);
    adam.visit(v);
  }
};

// Numbers of the blocks: that of the layer, or one of these.
constexpr std::int64_t kNoBlock = -1;
constexpr std::int64_t kEmbedding = std::numeric_limits<std::int64_t>::max() - 1;
constexpr std::int64_t kHead = kEmbedding + 1;

class BAdam : public UpdateRule, public FusedStep {
 public:
  using Options = BAdamOptions;
  explicit BAdam(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const auto block = block_of(parameter);
    if (block == kNoBlock) return {};
    StateSpec m{"exp_avg", parameter.shape},
        v{"exp_avg_sq", parameter.shape, StateUse::non_negative};
    m.turn = v.turn = block;
    return {m, v};
  }
  std::int64_t rows_together(const Parameter& parameter,
                             const TensorPartition& partition) const override {
    return rows_of_whole_blocks(parameter, partition);
  }
  bool rests(const Parameter& parameter, const StepScope& scope) const override {
    const auto block = block_of(parameter);
    return block == kNoBlock || block != active_block(scope);
  }
  bool forgets(const StepScope& scope) const override {
    return (scope.step - 1) % options_.switch_every == 0;
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    const auto step = options_.adam.step(since_switch(scope), p.weight_decay);
    return over_sections(p, [&](const kernels::MatrixView& rows, std::int64_t first) {
      return kernels::adam_per_element(rows, p.state.data(1) + first, step, scope.space);
    });
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto since = since_switch(scope);
    const auto g = scaled_gradient(p, scope);
    const auto m = as_matrix(p, p.state.load(0)), v = as_matrix(p, p.state.load(1));
    const auto moment = options_.adam.second_moment(since.step);
    v.mul_(moment.keep).addcmul_(g, g, moment.add);
    auto size = options_.adam.size(since, p.weight_decay);
    size.rate = element_rates(p);
    return adam_tensors({as_matrix(p, p.weight), g, m, v}, options_.adam, since, size);
  }

 private:
  std::int64_t block_of(const Parameter& parameter) const {
    if (parameter.layer >= 0) return parameter.layer;
    switch (parameter.role) {
      case ParameterRole::token_embedding:
      case ParameterRole::position_embedding:
        return options_.include_embedding ? kEmbedding : kNoBlock;
      case ParameterRole::lm_head:
        return options_.include_head ? kHead : kNoBlock;
      default:
        return kHead;
    }
  }

  // In the order of the model.
  std::vector<std::int64_t> blocks(const StepScope& scope) const {
    std::vector<std::int64_t> all;
    if (options_.include_embedding) all.push_back(kEmbedding);
    for (std::int64_t layer = 0; layer < scope.layers; ++layer) all.push_back(layer);
    if (options_.include_head || scope.layers == 0) all.push_back(kHead);
    return all;
  }

  std::int64_t active_block(const StepScope& scope) const {
    const auto all = blocks(scope);
    const auto turn = (scope.step - 1) / options_.switch_every;
    const auto count = std::ssize(all), place = turn % count;
    if (options_.order == "ascending") return all[std::size_t(place)];
    if (options_.order == "descending") return all[std::size_t(count - 1 - place)];
    const auto order = drawn_order(scope, count, turn / count);
    return all[std::size_t(order[place].item<std::int64_t>())];
  }

  StepScope since_switch(const StepScope& scope) const {
    auto since = scope;
    since.step = (scope.step - 1) % options_.switch_every + 1;
    return since;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_badam() {
  return rule_spec<BAdam>({.name = "badam",
                           .doc = "BAdam: AdamW on one layer at a time, whose turn changes",
                           .takes_turns = true});
}

}  // namespace blockwise
