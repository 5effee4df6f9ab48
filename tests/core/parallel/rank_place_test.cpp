// What launchers put into the environment.
#include "core/parallel/rank_place.hpp"

#include <map>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

using Variables = std::map<std::string, std::string>;

RankPlace placed(const Variables& variables) {
  return rank_place([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

void check_place(const Variables& variables, std::int64_t rank, std::int64_t size,
                 const std::string& address, int port) {
  const auto place = placed(variables);
  CHECK(place.rank == rank);
  CHECK(place.size == size);
  CHECK(place.address == address);
  CHECK(int(place.port) == port);
}

}  // namespace

TEST_CASE("ranks: the environment of each launcher", "[parallel]") {
  check_place({}, 0, 1, "", 0);
  check_place({{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "77"}},
              3, 8, "node1", 77);
  check_place({{"OMPI_COMM_WORLD_RANK", "1"},
               {"OMPI_COMM_WORLD_SIZE", "2"},
               {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
              1, 2, "127.0.0.1", 29500);
  check_place({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MASTER_ADDR", "h"}}, 1, 4, "h", 29500);
  check_place({{"SLURM_PROCID", "2"},
               {"SLURM_STEP_NUM_TASKS", "3"},
               {"SLURM_STEP_NUM_NODES", "1"},
               {"SLURM_JOB_ID", "40007"}},
              2, 3, "127.0.0.1", 20007);
  check_place({{"SLURM_PROCID", "2"},
               {"SLURM_STEP_NUM_TASKS", "3"},
               {"SLURM_STEP_NUM_NODES", "1"},
               {"SLURM_JOB_ID", "40007"},
               {"SLURM_STEP_ID", "1"}},
              2, 3, "127.0.0.1", 20007 + 7919);
  // With its plugin pmi2 srun sets mpirun's names, too.
  check_place({{"SLURM_PROCID", "1"},
               {"SLURM_STEP_NUM_TASKS", "2"},
               {"SLURM_STEP_NUM_NODES", "1"},
               {"SLURM_JOB_ID", "5"},
               {"PMI_RANK", "1"},
               {"PMI_SIZE", "2"}},
              1, 2, "127.0.0.1", 20005);
  // mpirun in a job of one task is mpirun.
  check_place({{"SLURM_PROCID", "0"},
               {"SLURM_STEP_NUM_TASKS", "1"},
               {"PMI_RANK", "1"},
               {"PMI_SIZE", "2"},
               {"MASTER_ADDR", "h"}},
              1, 2, "h", 29500);
  // One of torchrun's below one of Slurm's: the inner launcher counts.
  check_place({{"SLURM_PROCID", "0"},
               {"SLURM_STEP_NUM_TASKS", "1"},
               {"RANK", "1"},
               {"WORLD_SIZE", "2"},
               {"MASTER_ADDR", "h"}},
              1, 2, "h", 29500);
}

TEST_CASE("ranks: what two calls of mpirun start on a machine meets apart", "[parallel]") {
  const auto port = [](const std::string& job) {
    return int(placed({{"OMPI_COMM_WORLD_RANK", "0"},
                       {"OMPI_COMM_WORLD_SIZE", "2"},
                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                       {"PMIX_NAMESPACE", job}})
                   .port);
  };
  CHECK(port("3456827393") == port("3456827393"));
  CHECK(port("3456827393") != port("3456827394"));
  CHECK(port("prterun-host-77@1") >= 20000);
  CHECK(port("prterun-host-77@1") < 40000);
}

TEST_CASE("ranks: the number among those of a machine", "[parallel]") {
  const auto local = [](Variables variables) {
    variables.insert({"MASTER_ADDR", "h"});
    return placed(variables).local_rank;
  };
  CHECK(local({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}}) == 1);
  CHECK(local({{"OMPI_COMM_WORLD_RANK", "5"},
               {"OMPI_COMM_WORLD_SIZE", "8"},
               {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}}) == 2);
  CHECK(local({{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "3"}}) == 3);
  CHECK(local({{"SLURM_PROCID", "5"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_LOCALID", "0"}}) == 0);
  CHECK(local({{"RANK", "5"}, {"WORLD_SIZE", "8"}}) == 5);  // where the launcher does not say
  CHECK_THROWS_WITH(local({{"RANK", "1"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "2"}}),
                    Contains("LOCAL_RANK is '2', not a number from 0 to 1"));
}

TEST_CASE("ranks: a batch script without srun is one process, and so is one task", "[parallel]") {
  CHECK(placed({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).is_alone());
  CHECK(placed({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}).is_alone());
}

TEST_CASE("ranks: torchrun serves the meeting point and counts its tries", "[parallel]") {
  const auto place = placed({{"RANK", "0"},
                             {"WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "h"},
                             {"MASTER_PORT", "1"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"}});
  CHECK(place.launcher_serves);
  CHECK(place.attempt == "2");
}

TEST_CASE("ranks: what is no place is an error with its variable", "[parallel]") {
  const Variables good = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}};
  for (const auto& [name, value] :
       Variables{{"RANK", "2"}, {"WORLD_SIZE", "0"}, {"MASTER_PORT", "70000"}}) {
    auto variables = good;
    variables[name] = value;
    CHECK_THROWS_WITH(placed(variables), Contains(name + " is '" + value + "'"));
  }
  auto text = good;
  text["RANK"] = "1x";
  CHECK_THROWS_AS(placed(text), InputError);
  CHECK_THROWS_WITH(placed({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), Contains("MASTER_ADDR"));
  CHECK_THROWS_WITH(
      placed({{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_STEP_NUM_NODES", "2"}}),
      Contains("srun started 2 processes"));
}

TEST_CASE("ranks: what a process forgets its children do not see", "[parallel]") {
  Variables variables = {
      {"RANK", "1"},     {"WORLD_SIZE", "2"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"},
      {"PMI_RANK", "0"}, {"PMI_SIZE", "4"},   {"MASTER_ADDR", "h"},  {"SLURM_JOB_ID", "5"}};
  forget_launcher([&](const char* name) { variables.erase(name); });
  CHECK(placed(variables).is_alone());
  CHECK(variables.count("SLURM_JOB_ID") == 1);
}
