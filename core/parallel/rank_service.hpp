// What the other ranks do for rank 0 beside products, while they serve its Curvature.
#pragma once

#include "core/parallel/ranks.hpp"

namespace blockwise {

class RankService {
 public:
  virtual ~RankService() = default;
  // The one thing that rank 0 asks for next.
  virtual void serve(const Ranks& ranks) = 0;
};

}  // namespace blockwise
