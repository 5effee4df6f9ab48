#include "experiments/file_header.hpp"

#include <utility>

#include "core/error.hpp"

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
  for (const auto& [name, field] : kProvenanceTexts) {
    file.set_attribute("/provenance", name, provenance.*field);
  }
  for (const auto& [name, field] : kProvenanceNumbers) {
    file.set_attribute("/provenance", name, provenance.*field);
  }
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

void write_status(Hdf5File& file) {
  file.create_group("/status");
  file.create_enum("/status/state", run_state_names(), 0, "how the run ended, or that it has not");
  file.create_text("/status/message", "", kMessageCapacity, "why it ended so; may be empty");
  file.create_integer("/status/last_step", 0, "1", "steps done when the state was written");
}

}  // namespace blockwise
