// SlurmOptions: the YAML section `sweep.slurm`, what each member's job asks Slurm for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/fields.hpp"

namespace blockwise {

struct SlurmOptions {
  std::string partition;  // empty: the cluster's default, as for the others
  std::string account;
  std::string time;                  // as sbatch --time takes it
  std::int64_t cpus = 1;             // of a member's process
  std::string memory;                // as sbatch --mem takes it
  std::string gres;                  // as sbatch --gres takes it
  std::int64_t stop_seconds = 180;   // before the time limit
  std::vector<std::string> options;  // further words of sbatch
  std::vector<std::string> setup;    // lines of shell before the program

  void visit(FieldVisitor& v);
};

}  // namespace blockwise
