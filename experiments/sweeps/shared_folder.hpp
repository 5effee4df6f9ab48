// The folder of a sweep while it is prepared: one process at a time, of all machines that share it.
#pragma once

#include <filesystem>
#include <optional>

#include "core/io/lease_keeper.hpp"
#include "core/io/output_folder.hpp"

namespace blockwise {

// Made where it is not there, and taken: by a lock among processes of this machine, by a lease
// (core/io/lease.hpp) among machines. Waits for whoever has it. Throws as OutputFolder and
// Lease::take() do.
class SharedFolder {
 public:
  explicit SharedFolder(const std::filesystem::path& path);

 private:
  OutputFolder folder_;
  std::optional<LeaseKeeper> keeper_;  // goes first, so that an empty folder is empty
};

}  // namespace blockwise
