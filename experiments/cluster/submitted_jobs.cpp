#include "experiments/cluster/submitted_jobs.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"
#include "experiments/cluster/job_script.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

fs::path job_file(const fs::path& sweep, std::int64_t job) {
  return slurm_folder(sweep) / fmt::format("{}.json", job);
}

}  // namespace

void remember_job(const fs::path& sweep, std::int64_t job,
                  const std::vector<std::string>& members) {
  const nlohmann::ordered_json json = {
      {"format", "blockwise-slurm-job"}, {"version", 1}, {"job", job}, {"members", members}};
  write_file_atomically(job_file(sweep, job), json.dump(2) + "\n");
}

std::set<std::string> members_of(const fs::path& sweep, const std::set<SlurmTask>& tasks) {
  std::set<std::string> members;
  std::int64_t read = 0;
  std::vector<std::string> of_job;
  for (const auto& [job, task] : tasks) {  // those of a job are neighbours
    if (job != read) {
      read = job;
      of_job.clear();
      const auto file = job_file(sweep, job);
      if (!fs::exists(file)) continue;  // another sweep's, or no sweep's
      const auto document = read_json_file(file);
      const JsonView json(document, file);
      for (const auto& member : json.at("members").items()) of_job.push_back(member.text());
    }
    const auto place = static_cast<std::size_t>(task);
    if (place < of_job.size()) members.insert(of_job[place]);
  }
  return members;
}

}  // namespace blockwise
