// What becomes of a member of a sweep that is there already: it changes as a run does
// (continuation.hpp), or it would be another run.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "experiments/sweeps/sweep_manifest.hpp"
#include "experiments/training/continuation.hpp"

namespace blockwise {

struct MemberChange {
  enum class Run { not_begun, goes_on, has_ended };
  std::string id;
  // What its config.yaml has and is to have. Threads are not among it: every start gives its own.
  std::vector<ConfigDifference> keys;
  Run run = Run::not_begun;  // has_ended: under the new settings, too, so it stays as it is
  std::string rates_note;    // where a schedule depends on the length that changes
};

class MemberCheck {
 public:
  explicit MemberCheck(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Compares what `member` is to be (member.yaml, as to_yaml() made it) with its config.yaml and
  // its run, and gives it the hashes that the run has or will have. `known`: what the manifest says
  // of it; null where it does not, and then a config.yaml that is there means nothing. A run file
  // that cannot be read passes: that is said where it is read. Throws InputError naming the member,
  // the keys and both values where its config.yaml was changed by hand in what defines a run, where
  // its run is another one, or would be.
  MemberChange apply(SweepMember& member, const SweepMember* known);

 private:
  const std::vector<DataFile>& data_of(const RunConfig& config, const std::string& yaml);

  std::filesystem::path folder_;
  std::map<std::string, std::vector<DataFile>> data_;  // by the section `data`, which members share
};

}  // namespace blockwise
