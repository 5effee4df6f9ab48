// Steps of parameters whose state has a codec (state/state_codec.hpp): a piece of rows at a time is
// decoded, updated and encoded while it is in the caches, so that no more than a piece of the state
// is ever in float32. Pieces are of about 2^18 values, at the rule's lawful cuts
// (UpdateRule::rows_together()); a parameter that cannot be cut so, or that has rates per block, is
// one piece.
#pragma once

#include <functional>
#include <vector>

#include "core/parameters/parameter_store.hpp"
#include "optimizers/rule_set.hpp"
#include "optimizers/state/state_store.hpp"

namespace blockwise {

class CodedSteps {
 public:
  // has_rates: whether there are rates per block.
  CodedSteps(const ParameterStore& parameters, const RuleSet& rules, const Partition& partition,
             const StateStore& state, bool has_rates);

  bool has(std::size_t parameter) const { return !pieces_[parameter].empty(); }
  // Whether every piece is small, which is what makes a thread of its own worth while.
  bool is_cut(std::size_t parameter) const;
  // Before the first run: in which lane each parameter is decoded. Parameters of different lanes
  // can be stepped at the same time. Takes float32 memory for the largest piece of every lane.
  void assign(const std::vector<std::size_t>& lanes);
  // Of state number k the first values of the pieces.
  std::vector<std::int64_t> begins(std::size_t parameter, std::size_t k) const;
  // Calls step for every piece of the parameter `whole`, in order. seed: of rounding, another one
  // at every step.
  void run(std::size_t parameter, const ParameterStep& whole, std::uint64_t seed,
           const std::function<void(const ParameterStep&)>& step) const;

 private:
  struct Piece {
    Parameter parameter;
    TensorPartition partition;
    std::int64_t row_begin;
    std::vector<std::int64_t>
        state_begin;  // by number of the state, its first value in the whole's
    std::vector<StateSpec> specs;
    State state;
  };
  std::vector<Piece> cut(std::size_t i, const UpdateRule& rule, const Parameter& parameter,
                         const TensorPartition& partition) const;
  bool is_aligned(std::size_t parameter, const std::vector<Piece>& pieces) const;
  std::vector<at::Tensor> largest_of_lane(const std::vector<std::size_t>& lanes,
                                          std::size_t lane) const;
  void make_states(std::size_t parameter, const std::vector<at::Tensor>& decoded);

  const StateStore& state_;
  at::Device device_;
  std::vector<std::vector<Piece>> pieces_;  // by parameter
};

}  // namespace blockwise
