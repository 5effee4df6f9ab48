// A partition as a file: which elements of every parameter tensor share one second moment, with the
// evidence that chose it. Documented here for whoever reads it from another program.
//
// YAML, UTF-8:
//   format: blockwise-partition
//   version: 2                          or 1, whose hash does not cover the roles
//   hash: SHA-256 of the sections, see partition_hash(); a file that was changed by hand must drop
//     this line
//   model: {parameters: N, tensors: T}
//   provenance: {any keys: text}        how it was found
//   tensors:                            every tensor of the model once, by name
//     - name: NAME
//       shape: [rows, columns]          or [n] of a vector, which is n rows of one column
//       sections:                       consecutive rows, in order, that cover the tensor
//         - rows: [begin, end]          from begin up to, without, end
//           role: query                 as in the model: of these rows, or of the whole tensor
//           rule: head                  what chose it, for reports
//           structure: elements         one value per element
//                    | tiles            with tile: [rows, columns]; the last ones may be smaller
//                    | factored         with group: rows; v_ij = r_i c_j / mean(r) in every group
//                    | labels           with labels: "0*12 1*4 0*2", block numbers of the elements,
//                                       row by row, NUMBER*REPETITIONS
//                    | none             no second moment, v = 1; with tile: [rows, columns], which
//                                       may each have a learning rate, see block_rates.hpp
//           merged: NUMBER              0 or more: sections with one number share one value, the
//                                       mean over the elements of all of them; each is one tile;
//                                       may be absent
//           evidence: {key: number}     what spoke for it; may be absent
// Numbers are whole, tiles, groups and merged below 2^31; no other keys, none twice.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

using Evidence = std::vector<std::pair<std::string, double>>;

struct PartitionFile {
  Partition partition;
  std::vector<std::pair<std::string, std::string>> provenance;
  // Of every section, in order; empty: none.
  std::vector<std::vector<Evidence>> evidence;
  std::string hash;
};

// 64 hexadecimal digits over names, shapes, roles and structures, all that an optimizer goes by;
// not over evidence or provenance. Without the roles: what files of version 1 say.
std::string partition_hash(const ParameterLayout& layout, const Partition& partition);
std::string partition_hash_without_roles(const ParameterLayout& layout, const Partition& partition);

// The text of the file: the same for the same content.
std::string partition_text(const ParameterLayout& layout, const PartitionFile& file);

// Throws InputError naming file, line and tensor: of another model, overlapping, incomplete,
// changed, or a number out of its bounds.
PartitionFile read_partition(const std::filesystem::path& path, const ParameterLayout& layout);

}  // namespace blockwise
