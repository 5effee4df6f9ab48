// What the program sets for itself when it starts: how large tensors are allocated and how OpenMP's
// threads wait. What the user's environment says comes first.
#include <sys/resource.h>

#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

namespace blockwise {
namespace {

using testing::ProgramResult;
using testing::SmallRunFolder;

struct Cost {
  std::int64_t page_faults = 0;
  std::int64_t peak_resident = 0;   // bytes
  std::int64_t peak_allocated = 0;  // bytes
  double loss = 0.0;
};

std::int64_t page_faults_of_children() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_minflt;
}

// Four steps with activations of 16 MiB each.
Cost train(const std::string& environment) {
  const SmallRunFolder run(4);
  const auto before = page_faults_of_children();
  const auto result =
      run.run({"train", "--set", "model.n_embd=256", "--set", "trainer.micro_batch_size=32",
               "--set", "data.sequence_length=128", "--set", "trainer.global_batch_tokens=4096",
               "--set", "trainer.checkpoint_every=0", "--set", "data.validation_tokens=128"},
              environment);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto file = read_run(run.folder / "run/run.h5");
  return {page_faults_of_children() - before, file.peak_resident, file.peak_allocated,
          file.steps.back().loss};
}

TEST_CASE("Large tensors are kept from step to step, at no more resident memory") {
  const auto system = train("BLOCKWISE_ALLOCATOR=system");
  const auto cached = train("");
  CHECK(cached.loss == system.loss);
  CHECK(cached.peak_allocated == system.peak_allocated);
  // Loading the libraries takes some 30,000 faults in both.
  CHECK(cached.page_faults < system.page_faults / 2);
  // The cache holds at most 9/8 of the highest use; 32 MiB is what two starts differ by.
  CHECK(cached.peak_resident < system.peak_resident + cached.peak_allocated / 8 + (32 << 20));
}

TEST_CASE("OpenMP's threads spin briefly, unless the user says otherwise") {
  const auto policy = [](const std::string& environment) {
    return testing::run_program({"list", "schedules"}, "OMP_DISPLAY_ENV=verbose " + environment)
        .errors;
  };
  CHECK(policy("").find("GOMP_SPINCOUNT = '2000'") != std::string::npos);
  CHECK(policy("OMP_WAIT_POLICY=active").find("OMP_WAIT_POLICY = 'ACTIVE'") != std::string::npos);
  CHECK(policy("OMP_WAIT_POLICY=active").find("GOMP_SPINCOUNT = '2000'") == std::string::npos);
  CHECK(policy("GOMP_SPINCOUNT=7").find("GOMP_SPINCOUNT = '7'") != std::string::npos);
}

TEST_CASE("Members of a sweep spin briefly, too: the OpenMP that they have is the sweep's") {
  const SmallRunFolder run(4, "sweep: {seeds: [1]}\n");
  const auto result = run.run({"sweep"}, "OMP_DISPLAY_ENV=verbose");
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK(result.errors.find("GOMP_SPINCOUNT = '2000'") != std::string::npos);
  const auto log = read_text_file(run.folder / "run/members/run-s1/log.txt");
  CHECK(log.find("OPENMP DISPLAY ENVIRONMENT") == std::string::npos);
}

}  // namespace
}  // namespace blockwise
