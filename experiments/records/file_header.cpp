#include "experiments/records/file_header.hpp"

#include <utility>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kMessageCapacity = 1024;

constexpr std::pair<const char*, std::string Provenance::*> kProvenanceTexts[] = {
    {"program_version", &Provenance::program_version},
    {"git_commit", &Provenance::git_commit},
    {"compiler", &Provenance::compiler},
    {"torch_version", &Provenance::torch_version},
    {"hdf5_version", &Provenance::hdf5_version},
    {"simd_target", &Provenance::simd_target},
    {"device", &Provenance::device},
    {"started_at", &Provenance::started_at}};
constexpr std::pair<const char*, std::int64_t Provenance::*> kProvenanceNumbers[] = {
    {"threads", &Provenance::threads}, {"seed", &Provenance::seed}};

constexpr const char* kProcesses = "/provenance/processes";

std::string column(const std::string& name) { return fmt::format("{}/{}", kProcesses, name); }

void set_provenance(Hdf5File& file, const Provenance& provenance) {
  for (const auto& [name, field] : kProvenanceTexts) {
    file.set_attribute("/provenance", name, provenance.*field);
  }
  for (const auto& [name, field] : kProvenanceNumbers) {
    file.set_attribute("/provenance", name, provenance.*field);
  }
}

}  // namespace

const std::vector<std::string>& run_state_names() {
  static const std::vector<std::string> names = {"running", "finished", "diverged", "failed",
                                                 "interrupted"};
  return names;
}

void write_header(Hdf5File& file, const FileFormat& format, const std::string& config_yaml,
                  const std::string& config_hash, const Provenance& provenance) {
  file.set_attribute("/", "format", format.name);
  file.set_attribute("/", "format_version", format.version);
  file.create_group("/config");
  file.set_attribute("/config", "hash", config_hash);
  file.create_text("/config/yaml", config_yaml, config_yaml.size(),
                   "resolved configuration of the run");
  file.create_group("/provenance");
  set_provenance(file, provenance);
}

void require_format(const Hdf5File& file, const std::filesystem::path& path,
                    const FileFormat& format) {
  const auto name = file.text_attribute("/", "format");
  require_input(name == format.name, "{}: its format is '{}', not '{}'", path.string(), name,
                format.name);
  const auto version = file.integer_attribute("/", "format_version");
  require_input(version == format.version, "{}: a file of format version {}, this program reads {}",
                path.string(), version, format.version);
}

Provenance read_provenance(const Hdf5File& file) {
  Provenance provenance;
  for (const auto& [name, field] : kProvenanceTexts) {
    provenance.*field = file.text_attribute("/provenance", name);
  }
  for (const auto& [name, field] : kProvenanceNumbers) {
    provenance.*field = file.integer_attribute("/provenance", name);
  }
  return provenance;
}

void write_processes(Hdf5File& file, const std::vector<RunProcess>& processes) {
  if (file.has(kProcesses)) file.remove(kProcesses);
  file.create_group(kProcesses);
  const auto numbers = [&](const std::string& name, const char* doc, auto value) {
    std::vector<std::int64_t> values;
    for (const auto& process : processes) values.push_back(value(process));
    file.create_integer_column(column(name), "1", doc);
    file.append(column(name), values);
  };
  numbers("from_step",
          "first step that the process took; of a spectrum, first row of /hessian/summary",
          [](const RunProcess& process) { return process.from_step; });
  numbers("threads", "CPU threads", [](const RunProcess& p) { return p.provenance.threads; });
  numbers("ranks", "processes that made the run together, of as many threads each",
          [](const RunProcess& p) { return p.provenance.ranks; });
  for (const auto& [name, field] : kProvenanceTexts) {
    std::vector<std::string> values;
    for (const auto& process : processes) values.push_back(process.provenance.*field);
    file.write_text_column(column(name), values, "text", "as the attribute of /provenance");
  }
}

std::vector<RunProcess> read_processes(const Hdf5File& file) {
  const auto first = read_provenance(file);
  if (!file.has(kProcesses)) return {{1, first}};
  const auto steps = file.integer_column(column("from_step"));
  const auto threads = file.integer_column(column("threads"));
  // Files of an earlier version say nothing of ranks.
  const auto ranks = file.has(column("ranks")) ? file.integer_column(column("ranks"))
                                               : std::vector<std::int64_t>(steps.size(), 1);
  std::vector<RunProcess> processes(steps.size(), {1, first});
  require_input(threads.size() == steps.size() && ranks.size() == steps.size(),
                "{}: columns of different lengths", kProcesses);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    processes[i].from_step = steps[i];
    processes[i].provenance.threads = threads[i];
    processes[i].provenance.ranks = ranks[i];
  }
  for (const auto& [name, field] : kProvenanceTexts) {
    const auto values = file.text_column(column(name));
    require_input(values.size() == steps.size(), "{}: columns of different lengths", kProcesses);
    for (std::size_t i = 0; i < values.size(); ++i) processes[i].provenance.*field = values[i];
  }
  return processes;
}

void add_process(Hdf5File& file, std::int64_t step, const Provenance& provenance) {
  auto processes = read_processes(file);
  std::erase_if(processes, [&](const RunProcess& process) { return process.from_step > step; });
  if (processes.empty()) set_provenance(file, provenance);
  processes.push_back({step + 1, provenance});
  write_processes(file, processes);
}

void write_status(Hdf5File& file) {
  file.create_group("/status");
  file.create_enum("/status/state", run_state_names(), 0, "how the run ended, or that it has not");
  file.create_text("/status/message", "", kMessageCapacity, "why it ended so; may be empty");
  file.create_integer("/status/last_step", 0, "1", "steps done when the state was written");
}

}  // namespace blockwise
