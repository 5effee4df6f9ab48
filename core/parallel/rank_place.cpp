#include "core/parallel/rank_place.hpp"

#include <array>
#include <charconv>
#include <string_view>

#include "core/base/error.hpp"
#include "core/base/mix64.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kMostRanks = 1 << 16;
constexpr std::uint16_t kPort = 29500;  // torchrun's own default
constexpr std::int64_t kFirstPort = 20000, kPorts = 20000;

// What a launcher calls the same things. one_machine: the variable whose value says that all
// processes are on it, and that value; where it is empty, the number of processes.
struct Launcher {
  const char *name, *rank, *size, *local_rank, *one_machine, *one_machine_value;
};

constexpr std::array<Launcher, 4> kLaunchers = {{
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", ""},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", ""},
    {"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", ""},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NUM_NODES", "1"},
}};

class Environment {
 public:
  explicit Environment(const EnvironmentLookup& lookup) : lookup_(lookup) {}

  bool has(const char* name) const { return lookup_(name) != nullptr; }
  std::string text(const char* name) const {
    const char* value = lookup_(name);
    return value != nullptr ? value : "";
  }
  std::int64_t number(const char* name, std::int64_t least, std::int64_t most) const {
    const auto text = this->text(name);
    std::int64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto [last, error] = std::from_chars(text.data(), end, value);
    require_input(error == std::errc() && last == end && value >= least && value <= most,
                  "{} is '{}', not a number from {} to {}", name, text, least, most);
    return value;
  }

 private:
  const EnvironmentLookup& lookup_;
};

std::uint16_t port_of(const Environment& environment) {
  if (environment.has("MASTER_PORT")) {
    return static_cast<std::uint16_t>(environment.number("MASTER_PORT", 1, 65535));
  }
  // Jobs, and steps of a job, that share a machine meet at ports of their own.
  if (environment.has("PMIX_NAMESPACE")) {  // Open MPI's name of all that one mpirun starts
    std::uint64_t bits = 0;
    for (const char c : environment.text("PMIX_NAMESPACE")) bits = mix64(bits ^ std::uint64_t(c));
    return static_cast<std::uint16_t>(kFirstPort + std::int64_t(bits % std::uint64_t(kPorts)));
  }
  if (environment.has("SLURM_JOB_ID")) {
    const auto number = [&](const char* name) {
      return environment.has(name) ? environment.number(name, 0, std::int64_t{1} << 40) : 0;
    };
    constexpr std::int64_t kStepsApart = 7919;  // prime, so that steps leave jobs' neighbours alone
    const auto apart = kStepsApart * (number("SLURM_STEP_ID") % kPorts);
    return static_cast<std::uint16_t>(kFirstPort + (number("SLURM_JOB_ID") + apart) % kPorts);
  }
  return kPort;
}

std::string address_of(const Environment& environment, const Launcher& launcher,
                       std::int64_t size) {
  if (environment.has("MASTER_ADDR")) return environment.text("MASTER_ADDR");
  const std::string all =
      *launcher.one_machine_value != '\0' ? launcher.one_machine_value : std::to_string(size);
  require_input(environment.text(launcher.one_machine) == all,
                "{} started {} processes, and MASTER_ADDR, which says where they meet, is not set: "
                "export MASTER_ADDR=HOST, the host of rank 0, and MASTER_PORT",
                launcher.name, size);
  return "127.0.0.1";
}

// Slurm's pmi2 plugin sets the names of mpirun beside its own, and none that tells whether all
// processes are on one machine: srun's do.
bool is_of_srun(const Environment& environment, const Launcher& launcher) {
  return std::string_view(launcher.rank) == "PMI_RANK" && environment.has("SLURM_PROCID") &&
         environment.text("SLURM_PROCID") == environment.text("PMI_RANK") &&
         environment.text("SLURM_STEP_NUM_TASKS") == environment.text("PMI_SIZE");
}

}  // namespace

void forget_launcher(const std::function<void(const char*)>& unset) {
  for (const auto& launcher : kLaunchers) unset(launcher.size);
}

RankPlace rank_place(const EnvironmentLookup& lookup) {
  const Environment environment(lookup);
  for (const auto& launcher : kLaunchers) {
    if (!environment.has(launcher.rank) || !environment.has(launcher.size)) continue;
    if (is_of_srun(environment, launcher)) continue;
    RankPlace place;
    place.size = environment.number(launcher.size, 1, kMostRanks);
    place.rank = environment.number(launcher.rank, 0, place.size - 1);
    if (place.is_alone()) return place;
    place.local_rank = environment.has(launcher.local_rank)
                           ? environment.number(launcher.local_rank, 0, place.rank)
                           : place.rank;
    place.address = address_of(environment, launcher, place.size);
    place.port = port_of(environment);
    place.launcher_serves = environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
    if (environment.has("TORCHELASTIC_RESTART_COUNT")) {
      place.attempt = environment.text("TORCHELASTIC_RESTART_COUNT");
    }
    return place;
  }
  return {};
}

}  // namespace blockwise
