#include "experiments/commands/member_processes.hpp"

#include <string>
#include <vector>

#include "experiments/commands/command.hpp"
#include "experiments/commands/own_program.hpp"
#include "experiments/sweeps/forked_members.hpp"
#include "experiments/sweeps/spawned_members.hpp"

namespace blockwise {
namespace {

int run_member(const std::vector<std::string>& words) {
  std::vector<std::string> copy = {"blockwise"};
  copy.insert(copy.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (auto& word : copy) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  return run_words(static_cast<int>(copy.size()), arguments.data());
}

}  // namespace

std::unique_ptr<MemberStarter> member_processes() {
  if (has_one_thread()) return std::make_unique<ForkedMembers>(run_member);
  return std::make_unique<SpawnedMembers>(own_program());
}

}  // namespace blockwise
