// EnergyCounter: what the processors and their memory have used, from their own counters (RAPL, as
// Linux shows them under powercap). It is the whole machine's, other programs included.
//
// Counted are the domains "package-N" and "dram"; "psys" holds them again, and "core" and "uncore"
// are parts of a package. Counters start again at their range: above 2^35 microjoules, minutes of a
// server, so count() must be called more often than that. Without the counters, or without the
// right to read them, there is no energy: nothing is estimated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace blockwise {

class EnergyCounter {
 public:
  explicit EnergyCounter(const std::filesystem::path& zones = "/sys/class/powercap");

  bool is_readable() const { return !domains_.empty(); }
  // Microjoules since construction. Nothing where a counter was not readable now or before.
  std::optional<std::int64_t> count();

 private:
  struct Domain {
    std::filesystem::path energy;
    std::int64_t range = 0, last = 0;  // microjoules
  };
  std::vector<Domain> domains_;
  std::int64_t total_ = 0;
};

}  // namespace blockwise
