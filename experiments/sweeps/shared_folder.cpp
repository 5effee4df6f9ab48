#include "experiments/sweeps/shared_folder.hpp"

#include <chrono>
#include <thread>

#include "core/io/folder_lock.hpp"

namespace blockwise {
namespace {

constexpr auto kPause = std::chrono::milliseconds(200);

Lease wait_for_lease(const std::filesystem::path& folder, LocalHolders local) {
  for (LeaseWatch watch;; std::this_thread::sleep_for(kPause)) {
    if (auto lease = Lease::take(folder, watch, local)) return std::move(*lease);
  }
}

}  // namespace

SharedFolder::SharedFolder(const std::filesystem::path& path)
    : folder_(OutputFolder::when_free(path)) {
  // Taken by this process, where the file system has such locks.
  const auto local = FolderLock::is_taken(path) ? LocalHolders::gone : LocalHolders::unknown;
  keeper_.emplace(wait_for_lease(path, local));
}

}  // namespace blockwise
