#include "core/data/ordered_examples.hpp"

#include "core/base/error.hpp"

namespace blockwise {

Batch examples_in_order(ExampleOrder order, const Dataset& data, std::int64_t first,
                        std::int64_t count) {
  if (order == ExampleOrder::sampled) return data.training_examples(first, count);
  const auto size = data.sequential_size();
  require_input(count <= size && first <= size - count,
                "hessian.order: sequential takes every example once, the training data have {}; "
                "numbers {} to {} are asked for",
                size, first, first + count - 1);
  return data.sequential_examples(first, count);
}

}  // namespace blockwise
