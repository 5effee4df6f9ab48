#include "experiments/sweeps/member_result.hpp"

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "experiments/training/run_end.hpp"

namespace blockwise {

RunResult member_result(const SweepManifest& sweep, const SweepMember& member) {
  RunResult result;
  result.state = RunState::failed;
  result.message = "it has no run file yet";
  const auto path = sweep.folder / member.run;
  try {
    return input_exists(path) ? read_run(path) : result;
  } catch (const InputError& error) {
    result.message = error.what();
    return result;
  }
}

bool has_ended(const SweepMember& member, const RunResult& result) {
  return is_over(result, member.yaml.empty() ? result.config_yaml : member.yaml);
}

}  // namespace blockwise
