// A file of learning rates for the blocks of a partition.
#include "core/block_rates.hpp"
#include "core/partition_rules.hpp"
#include "tests/fuzz/small_model.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  static const auto layout = fuzz::small_model()->layout();
  static const auto partition = make_partition(layout, "adam_mini", {});
  const auto path = folder.write("rates.yaml", bytes);
  const auto rates = read_block_rates(path, layout, partition);
  const auto text = block_rates_text(layout, partition, rates);
  const auto again = read_block_rates(folder.write("again.yaml", text), layout, partition);
  check_equal(block_rates_text(layout, partition, again), text, "the rates that were written");
}
