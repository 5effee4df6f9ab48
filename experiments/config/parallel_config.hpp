// The section `parallel`: how several processes make one run together.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/fields.hpp"
#include "core/parallel/gradient_sum.hpp"

namespace blockwise {

struct ParallelConfig {
  std::string shard = "none";
  std::string gradient_sum = "running";
  std::int64_t bucket_mb = 25;
  std::int64_t timeout_seconds = 1800;

  void visit(FieldVisitor& v) {
    v.choice(
        {"shard",
         "none: every process has all of the optimizer; optimizer: each keeps the state of a "
         "share of the parameters and updates them (ZeRO-1); gradients: each keeps the gradients "
         "of its share alone, too (ZeRO-2); parameters: and the weights of layers, which it has "
         "whole only while it computes with them (ZeRO-3)"},
        shard, {"none", "optimizer", "gradients", "parameters"});
    v.choice({"gradient_sum",
              "order in which micro-batches are added: running: each process its own one after the "
              "other; pairwise: by a tree over all, the same bits for 1, 2, 4, ... processes"},
             gradient_sum, {"running", "pairwise"});
    v.integer({"bucket_mb", "MiB of gradients that processes exchange at a time"}, bucket_mb,
              {1, 1 << 20});
    v.integer({"timeout_seconds", "how long a process waits for the others at most"},
              timeout_seconds, {1, 1 << 24});
  }
  bool shares_gradients() const { return shard == "gradients" || shares_weights(); }
  bool shares_weights() const { return shard == "parameters"; }
  SumOrder order() const {
    return gradient_sum == "pairwise" ? SumOrder::pairwise : SumOrder::running;
  }
};

}  // namespace blockwise
