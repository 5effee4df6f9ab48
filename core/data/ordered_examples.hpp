// Training examples in one of their two orders.
#pragma once

#include "core/dataset.hpp"

namespace blockwise {

// Examples first .. first + count - 1 in that order. Throws InputError where sequential data end.
Batch examples_in_order(ExampleOrder order, const Dataset& data, std::int64_t first,
                        std::int64_t count);

}  // namespace blockwise
