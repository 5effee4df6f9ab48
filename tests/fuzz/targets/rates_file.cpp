// A file of learning rates for the blocks of a partition.
#include "core/partition/block_rates.hpp"
#include "core/partition/partition_file.hpp"
#include "core/partition/partition_rules.hpp"
#include "tests/fuzz/small_model.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

namespace {

// HASH stands for the partition's, which nobody guesses.
std::string with_hash(std::string_view bytes, const ParameterLayout& layout,
                      const Partition& partition) {
  std::string text(bytes);
  const auto at = text.find("HASH");
  return at == text.npos ? text : text.replace(at, 4, partition_hash(layout, partition));
}

}  // namespace

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  static const auto layout = fuzz::small_model()->layout();
  static const auto partition = make_partition(layout, "adam_mini", {});
  const auto path = folder.write("rates.yaml", with_hash(fuzz::text_of(bytes), layout, partition));
  const auto rates = read_block_rates(path, layout, partition);
  const auto text = block_rates_text(layout, partition, rates);
  const auto again = read_block_rates(folder.write("again.yaml", text), layout, partition);
  check_equal(block_rates_text(layout, partition, again), text, "the rates that were written");
}
