// The text of batch scripts, and which members a task of the queue has.
#include "experiments/cluster/job_script.hpp"

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "experiments/cluster/submitted_jobs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

JobArray example_array() {
  return {"small",
          {"adamw-s1", "adamw-s2"},
          "/shared/small",
          "/home/me",
          "/opt/blockwise",
          0,
          std::chrono::seconds(120),
          {}};
}

}  // namespace

TEST_CASE("The script of a plain array") {
  CHECK(job_script(example_array()) ==
        R"(#!/bin/bash
#SBATCH --job-name="small"
#SBATCH --array=0-1
#SBATCH --output="/shared/small/slurm/%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
#SBATCH --cpus-per-task=1
# A task is a member of the sweep. SIGUSR1, which Slurm sends before the time limit, lets
# it leave a checkpoint and puts the task back into the queue, where it goes on.
members=(
  adamw-s1
  adamw-s2
)
cd /home/me || exit 1
export OMP_NUM_THREADS=1
exec /opt/blockwise sweep /shared/small --member "${members[SLURM_ARRAY_TASK_ID]}" --lease 120 --requeue
)");
}

TEST_CASE("Options of sweep.slurm and the bound on tasks are in the script") {
  auto array = example_array();
  array.at_once = 4;
  array.options = {"gpu", "me",           "04:00:00",       8, "16G", "gpu:1",
                   60,    {"--qos=long"}, {"module load x"}};
  const auto script = job_script(array);
  for (const auto* line :
       {"#SBATCH --array=0-1%4\n", "#SBATCH --partition=gpu\n", "#SBATCH --account=me\n",
        "#SBATCH --time=04:00:00\n", "#SBATCH --cpus-per-task=8\n", "#SBATCH --mem=16G\n",
        "#SBATCH --gres=gpu:1\n", "#SBATCH --signal=B:USR1@60\n", "#SBATCH --qos=long\n",
        "export OMP_NUM_THREADS=8\nmodule load x\nexec "}) {
    CHECK_THAT(script, Contains(line));
  }
}

TEST_CASE("Names with quotes, blanks and percent signs stay what they are") {
  auto array = example_array();
  array.name = "a \"b\"";
  array.members = {"it's one"};
  array.folder = "/shared/50% $x";
  const auto script = job_script(array);
  CHECK_THAT(script, Contains("--job-name=\"a \\\"b\\\"\"\n"));
  CHECK_THAT(script, Contains("--output=\"/shared/50%% $x/slurm/%A_%a.log\"\n"));
  CHECK_THAT(script, Contains("  'it'\\''s one'\n"));
  CHECK_THAT(script, Contains(" sweep '/shared/50% $x' --member "));
}

TEST_CASE("A folder that Slurm cannot be told is refused") {
  for (const auto* folder : {"/a\nb", "/a\\b", "/a\x1b"}) {
    auto array = example_array();
    array.folder = folder;
    CHECK_THROWS_AS(job_script(array), InputError);
  }
}

TEST_CASE("The queue's tasks are members by what was submitted") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(slurm_folder(folder.path()));
  remember_job(folder.path(), 7, {"a", "b", "c"});
  remember_job(folder.path(), 9, {"d"});
  using Ids = std::set<std::string>;
  CHECK(members_of(folder.path(), {{7, 0}, {7, 2}, {9, 0}}) == Ids{"a", "c", "d"});
  CHECK(members_of(folder.path(), {{8, 0}, {9, 5}, {9, -1}}) == Ids{});  // not of this sweep
  write_file_atomically(slurm_folder(folder.path()) / "9.json", "{}");
  CHECK_THROWS_AS(members_of(folder.path(), {{9, 0}}), InputError);
}
