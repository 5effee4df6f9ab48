// SharedState: the saved state of optimizers that have a shard each, as if one had all of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/io/safetensors.hpp"
#include "core/parallel/ranks.hpp"

namespace blockwise {

class SharedState {
 public:
  // own: this rank's saved state (Optimizer::saved_state()), views that are kept. all: what that of
  // the whole model looks like, in its order; shapes and types alone count. Every rank makes one;
  // what they have adds up to the whole, which is checked.
  SharedState(const NamedTensors& own, const NamedTensors& all, const Ranks& ranks);

  // The tensors of a whole model's checkpoint, to be made by collect().
  std::vector<LateTensor> tensors() const;
  // Makes one of them, on every rank, of all pieces; each rank has it then.
  at::Tensor collect(std::size_t number) const;
  // This rank's pieces of a whole model's saved state, however many ranks saved it. What is missing
  // there is missing. Throws InputError naming a tensor of another size than the model's.
  NamedTensors pieces(const NamedTensors& saved) const;

 private:
  const Ranks& ranks_;
  std::map<std::string, at::Tensor> own_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<at::ScalarType> types_;
  std::vector<Shares> shares_;  // of each tensor
};

}  // namespace blockwise
