#include "experiments/sweeps/members_at_once.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/memory_plan.hpp"

namespace blockwise {
namespace {

bool decides_memory(const std::string& key) {
  return key.starts_with("model.") || key.starts_with("data.") || key.starts_with("trainer.") ||
         key.starts_with("optimizer.rule") || key.starts_with("optimizer.state");
}

std::string size_of(const MemberPlan& plan) {
  std::string text = plan.group;
  for (const auto& [key, value] : plan.overrides) {
    if (decides_memory(key)) text += "\n" + key + "=" + value;
  }
  return text;
}

// Resident bytes of a member's process; nothing for one that leaves the CPU.
std::optional<std::int64_t> planned_bytes(const SweepManifest& sweep, const SweepMember& member) {
  const auto file = sweep.folder / member.config;
  auto config = YamlDocument::load(file.string()).run_config();
  if (!resolve_device(config.trainer.device).is_cpu()) return std::nullopt;
  return plan_memory(std::move(config)).peak_bytes + kMostBesideTensors;
}

}  // namespace

std::int64_t members_that_fit(std::int64_t members, std::int64_t threads,
                              std::int64_t bytes_available, std::int64_t bytes_of_largest) {
  const auto fit = std::max<std::int64_t>(1, bytes_available / bytes_of_largest);
  return std::min({members, threads, fit});
}

std::int64_t members_at_once(const SweepManifest& sweep) {
  const auto threads = thread_count(0);
  const auto members = std::max<std::int64_t>(1, std::ssize(sweep.members));
  if (threads == 1 || members == 1) return 1;
  std::set<std::string> seen;
  std::int64_t largest = 1;
  for (const auto& member : sweep.members) {
    if (!seen.insert(size_of(member.plan)).second) continue;
    const auto bytes = planned_bytes(sweep, member);
    if (!bytes) return 1;
    largest = std::max(largest, *bytes);
  }
  return members_that_fit(members, threads, available_bytes(at::kCPU), largest);
}

}  // namespace blockwise
