// A learning rate for every block of a partition, and its file.
//
// The step of block b is its value times the scheduled learning rate times the rule's direction,
// weight decay included: w_b <- w_b + value_b (w_b' - w_b), where w' is what the rule makes of w at
// the scheduled rate. With optimizer.learning_rate 1 a value is a rate, otherwise it multiplies.
//
// YAML, UTF-8:
//   format: blockwise-rates
//   version: 1
//   partition: SHA-256, the partition's hash, see partition_file.hpp; or that without the roles
//   learning_rate: R                    the one that the values go with
//   provenance: {any keys: text}        how they were found
//   tensors:                            every tensor of the model once, by name
//     - name: NAME
//       sections:                       those of the partition, in order
//         - rate: "0.5*3 2*1"           VALUE*REPETITIONS over the section's blocks in their order,
//                                       or one value for all of them
//           low: "..."                  95 % interval, in the same form; may be absent
//           high: "..."
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

struct SectionRates {
  // One value, or one per block of the section (PartitionSection::block_count()). At least 0.
  std::vector<double> rate{1.0};
  std::vector<double> low, high;  // empty: no interval

  double of(std::int64_t block) const {
    return rate.size() == 1 ? rate.front() : rate[static_cast<std::size_t>(block)];
  }
  // Nothing to be done.
  bool all_one() const;
};

struct BlockRates {
  double learning_rate = 1.0;
  std::vector<std::vector<SectionRates>> tensors;  // in the layout's order, by section
  std::vector<std::pair<std::string, std::string>> provenance;

  // 1 everywhere.
  static BlockRates ones(const Partition& partition);
  // Of a tensor's blocks, each counted once.
  double mean(std::size_t tensor, const TensorPartition& partition) const;
};

std::string block_rates_text(const ParameterLayout& layout, const Partition& partition,
                             const BlockRates& rates);

// Throws InputError naming file, line and tensor: of another model or partition, a rate below 0, as
// many values as there are no blocks.
BlockRates read_block_rates(const std::filesystem::path& path, const ParameterLayout& layout,
                            const Partition& partition);

}  // namespace blockwise
