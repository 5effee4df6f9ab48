// The YAML section `optimizer.rates`: what the learning rate is multiplied with, tensor by tensor,
// while a run goes on. A file of measured rates is optimizer.block_lr instead; both multiply.
//
//   uniform       1
//   by_role       a factor for every role
//   blockwise_lr  the same with the factors of Wang et al. ("The Sharpness Disparity Principle",
//                 arXiv 2502.19002): 10 embedding, 8 query and key, 6 MLP, 4 value and attention
//                 output, 1 norms and all else. They state none for a head of its own, which gets
//                 the embedding's, as in the reproduction by LLR's authors
//   llr           factors from the spectra of the weights, anew every update_every steps (arXiv
//                 2605.22297); see rate_method.hpp
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/fields.hpp"
#include "core/parameters/parameter.hpp"

namespace blockwise {

struct RateConfig {
  std::string method = "uniform";
  // by_role and blockwise_lr
  std::map<ParameterRole, double> by_role;  // what differs from the method's factors
  double floor = -1.0;                      // below 0: the method's
  // llr
  double lowest = 1.0;
  double highest = 5.0;
  std::int64_t update_every = 100;
  std::int64_t ramp_steps = 50;
  std::int64_t until_step = 0;

  void visit(FieldVisitor& v);
  bool is_uniform() const { return method == "uniform"; }
  bool is_by_role() const { return method == "by_role" || method == "blockwise_lr"; }
  // Of a role under by_role and blockwise_lr, at the peak of the schedule.
  double factor(ParameterRole role) const;
};

// What `method` may be.
std::vector<std::string> rate_methods();

}  // namespace blockwise
