// Members that load the program anew, LibTorch with it, from a file.
#pragma once

#include <string>
#include <utility>

#include "experiments/sweeps/member_starter.hpp"

namespace blockwise {

class SpawnedMembers : public MemberStarter {
 public:
  explicit SpawnedMembers(std::string program) : program_(std::move(program)) {}

  pid_t start(const std::vector<std::string>& words, int output, int log) override;
  int wait(pid_t process) override;

 private:
  std::string program_;  // the path of blockwise
};

}  // namespace blockwise
