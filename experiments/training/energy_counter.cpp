#include "experiments/training/energy_counter.hpp"

#include <fstream>
#include <string>

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

bool counts(const fs::path& zone) {
  std::ifstream file(zone / "name");
  std::string name;
  file >> name;
  return name.starts_with("package-") || name == "dram";
}

}  // namespace

EnergyCounter::EnergyCounter(const fs::path& zones) {
  std::error_code none;
  for (const auto& zone : fs::directory_iterator(zones, none)) {
    if (!counts(zone.path())) continue;
    const auto energy = zone.path() / "energy_uj";
    const auto range = number_in(zone.path() / "max_energy_range_uj"), now = number_in(energy);
    if (!range || !now) {
      domains_.clear();
      return;
    }
    domains_.push_back({energy, *range, *now});
  }
}

std::optional<std::int64_t> EnergyCounter::count() {
  for (auto& domain : domains_) {
    const auto now = number_in(domain.energy);
    if (!now) {
      domains_.clear();
      break;
    }
    total_ += *now >= domain.last ? *now - domain.last : domain.range - domain.last + *now;
    domain.last = *now;
  }
  return is_readable() ? std::optional(total_) : std::nullopt;
}

}  // namespace blockwise
