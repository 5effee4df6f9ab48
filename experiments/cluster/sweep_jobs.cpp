#include "experiments/cluster/sweep_jobs.hpp"

#include <algorithm>
#include <optional>

#include "experiments/cluster/slurm.hpp"
#include "experiments/cluster/submitted_jobs.hpp"
#include "experiments/sweeps/member_result.hpp"
#include "experiments/sweeps/shared_folder.hpp"

namespace blockwise {

std::vector<std::string> open_members(const SweepManifest& sweep) {
  std::vector<std::string> open;
  for (const auto& member : sweep.members) {
    if (!has_ended(member, member_result(sweep, member))) open.push_back(member.plan.id);
  }
  return open;
}

SweepJobs submit_members(const SweepManifest& sweep, const JobArray& array) {
  const SharedFolder taken(sweep.folder);  // two at a time would submit the same
  auto open = open_members(sweep);
  SweepJobs result;
  result.ended = std::ssize(sweep.members) - std::ssize(open);
  if (open.empty()) return result;
  const auto queued = members_of(sweep.folder, queued_tasks());
  result.queued = static_cast<std::int64_t>(
      std::erase_if(open, [&](const auto& id) { return queued.contains(id); }));
  if (open.empty()) return result;
  std::filesystem::create_directories(slurm_folder(sweep.folder));
  const auto most = static_cast<std::size_t>(largest_array());
  for (std::size_t begin = 0; begin < open.size(); begin += most) {
    auto part = array;
    const auto end = std::min(open.size(), begin + most);
    part.members.assign(open.begin() + std::ptrdiff_t(begin), open.begin() + std::ptrdiff_t(end));
    const bool waits = part.at_once > 0 && !result.jobs.empty();
    const auto job =
        submit_job(job_script(part), waits ? std::optional(result.jobs.back()) : std::nullopt);
    remember_job(sweep.folder, job, part.members);
    result.jobs.push_back(job);
    result.submitted += std::ssize(part.members);
  }
  return result;
}

}  // namespace blockwise
