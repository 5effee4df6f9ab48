// One run made by several processes of the real program.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/safetensors.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/records/hessian_recorder.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/rank_processes.hpp"
#include "tests/support/same_runs.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kSteps = 12;
using Names = std::array<const char*, 3>;  // of the variables for rank, size and one more
constexpr Names kTorchrun = {"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"};

// The program on `size` ranks, as a launcher starts it.
class RankedRun {
 public:
  RankedRun(const std::vector<std::string>& arguments, std::int64_t size,
            const Names& names = kTorchrun) {
    ::setenv("MASTER_ADDR", "127.0.0.1", 1);
    ::setenv("MASTER_PORT", std::to_string(free_port()).c_str(), 1);
    ::setenv(names[1], std::to_string(size).c_str(), 1);
    ::setenv(names[2], std::to_string(size).c_str(), 1);
    for (std::int64_t rank = 0; rank < size; ++rank) {
      ::setenv(names[0], std::to_string(rank).c_str(), 1);
      processes_.push_back(start_program(arguments, errors_file(rank)));
    }
    for (const auto* name : names) ::unsetenv(name);
    ::unsetenv("MASTER_ADDR");
    ::unsetenv("MASTER_PORT");
  }
  void signal(std::size_t rank, int number) const { ::kill(processes_[rank], number); }
  // Exit codes, or minus the signal, of all; of those that hang that of a kill.
  std::vector<int> wait() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(4);
    std::vector<int> codes;
    for (const auto process : processes_) {
      int status = 0;
      while (::waitpid(process, &status, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > end) ::kill(process, SIGKILL);
        ::usleep(2'000);
      }
      codes.push_back(WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
    }
    return codes;
  }
  std::string errors(std::int64_t rank) const {
    const auto file = errors_file(rank);
    return input_exists(file) ? read_text_file(file) : "";
  }

 private:
  std::string errors_file(std::int64_t rank) const {
    return (folder_ / std::to_string(rank)).string();
  }

  TemporaryFolder folder_;
  std::vector<pid_t> processes_;
};

// Four micro-batches a step.
struct Ranked : SmallRunFolder {
  Ranked() : SmallRunFolder(kSteps) {}
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::vector<std::string> words(const std::string& name,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"train", config, "--output", path(name), "--threads", "1"};
    for (const auto* set : {"trainer.micro_batch_size=2", "trainer.device=cpu"}) {
      all.insert(all.end(), {"--set", set});
    }
    const auto tokens = 4 * 2 * 16;
    all.insert(all.end(), {"--set", "trainer.global_batch_tokens=" + std::to_string(tokens)});
    for (const auto& set : more) all.insert(all.end(), {"--set", set});
    return all;
  }
};

const std::vector<std::string> kPairwise = {"parallel.gradient_sum=pairwise"};

}  // namespace

TEST_CASE("ranks: 1, 2 and 4 processes that add pairwise make the same run, to the bit",
          "[parallel]") {
  const Ranked r;
  REQUIRE(run_program(r.words("one", kPairwise)).exit_code == 0);
  for (const std::int64_t size : {2, 4}) {
    const auto name = std::to_string(size);
    CHECK(RankedRun(r.words(name, kPairwise), size).wait() ==
          std::vector<int>(std::size_t(size), 0));
    check_same_runs(r.path("one"), r.path(name), kSteps);
  }
}

TEST_CASE("ranks: running sums differ from one process by rounding alone", "[parallel]") {
  const Ranked r;
  REQUIRE(run_program(r.words("one")).exit_code == 0);
  CHECK(RankedRun(r.words("two"), 2).wait() == std::vector<int>{0, 0});
  const auto one = read_run(r.path("one") + "/run.h5"), two = read_run(r.path("two") + "/run.h5");
  REQUIRE(one.steps.size() == two.steps.size());
  for (std::size_t i = 0; i < one.steps.size(); ++i) {
    // float32 sums of four terms, carried through twelve steps
    CHECK(two.steps[i].loss == Approx(one.steps[i].loss).epsilon(1e-5));
  }
}

TEST_CASE("ranks: every launcher's variables start the same run", "[parallel]") {
  const Ranked r;
  REQUIRE(run_program(r.words("one", kPairwise)).exit_code == 0);
  const std::map<std::string, Names> launchers = {
      {"open_mpi", {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"}},
      {"mpich", {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"}},
      {"srun", {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}}};
  for (const auto& [name, names] : launchers) {
    INFO(name);
    CHECK(RankedRun(r.words(name, kPairwise), 2, names).wait() == std::vector<int>{0, 0});
    check_same_runs(r.path("one"), r.path(name), kSteps);
  }
}

TEST_CASE("ranks: one that is killed ends the others, and the run goes on with any number",
          "[parallel]") {
  const Ranked r;
  const std::vector<std::string> often = {kPairwise[0], "trainer.checkpoint_every=1"};
  REQUIRE(run_program(r.words("whole", often)).exit_code == 0);
  for (const std::size_t killed : {0, 1}) {
    const auto name = "killed_" + std::to_string(killed);
    RankedRun run(r.words(name, often), 2);
    // Any step of the first half, another one each time.
    const auto step = std::int64_t(1 + std::random_device()() % (kSteps / 2));
    INFO("rank " << killed << " is killed behind step " << step);
    while (checkpoint_steps(r.path(name)).empty() || checkpoint_steps(r.path(name)).back() < step) {
      ::usleep(2'000);
    }
    run.signal(killed, SIGKILL);
    const auto start = std::chrono::steady_clock::now();
    const auto codes = run.wait();
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
    CHECK(codes[killed] == -SIGKILL);
    CHECK(codes[1 - killed] == kExitFailed);
    CHECK_THAT(run.errors(std::int64_t(1 - killed)),
               Contains(killed == 0 ? "rank 0, where all meet, has left"
                                    : "gone, or not answering: rank 1"));
    const std::int64_t next = killed == 0 ? 4 : 1;
    CHECK(RankedRun(r.words(name, often), next).wait() == std::vector<int>(std::size_t(next), 0));
    check_same_runs(r.path("whole"), r.path(name), kSteps);
  }
}

TEST_CASE("ranks: one that keeps the others waiting is named", "[parallel]") {
  const Ranked r;
  RankedRun run(r.words("slow", {"trainer.steps=100000", "trainer.checkpoint_every=0"}), 2);
  const std::string named = "rank 1 is slow";
  // It gets a quarter of the time.
  for (int pulse = 0; pulse < 3000 && run.errors(0).find(named) == std::string::npos; ++pulse) {
    run.signal(1, SIGSTOP);
    ::usleep(15'000);
    run.signal(1, SIGCONT);
    ::usleep(5'000);
  }
  CHECK_THAT(run.errors(0), Contains(named));
  run.signal(0, SIGTERM);
  CHECK(run.wait() == std::vector<int>{kExitInterrupted, kExitInterrupted});
}

TEST_CASE("ranks: a signal to the first stops all at one step, with one exit code", "[parallel]") {
  const Ranked r;
  REQUIRE(run_program(r.words("whole", kPairwise)).exit_code == 0);
  const std::vector<std::string> longer = {kPairwise[0], "trainer.steps=100000"};
  RankedRun run(r.words("stopped", longer), 2);
  while (!Hdf5File::is_hdf5(r.path("stopped") + "/run.h5")) ::usleep(2'000);
  ::usleep(200'000);
  run.signal(0, SIGTERM);
  CHECK(run.wait() == std::vector<int>{kExitInterrupted, kExitInterrupted});
  const auto stopped = read_run(r.path("stopped") + "/run.h5");
  CHECK(stopped.state == RunState::interrupted);
  CHECK(checkpoint_steps(r.path("stopped")).back() == stopped.last_step);
}

TEST_CASE("ranks: a sharded optimizer makes the run of a whole one, to the bit without clipping",
          "[parallel]") {
  const Ranked r;
  for (const std::string rule : {"adamw", "adam_mini", "muon", "soap"}) {
    INFO(rule);
    const bool whole_matrices = rule == "muon" || rule == "soap";
    const std::vector<std::string> whole = {kPairwise[0], "optimizer.rule=" + rule,
                                            "optimizer.gradient_clip=0", "trainer.norms_every=5"};
    REQUIRE(run_program(r.words("whole_" + rule, whole)).exit_code == 0);
    // With gradients, too, where each of four processes has one micro-batch.
    for (const auto& [size, shard] : std::vector<std::pair<std::int64_t, std::string>>{
             {2, "optimizer"}, {4, "optimizer"}, {4, "gradients"}, {4, "parameters"}}) {
      auto sharded = whole;
      sharded.push_back("parallel.shard=" + shard);
      const auto name = rule + std::to_string(size) + shard;
      CHECK(RankedRun(r.words(name, sharded), size).wait() ==
            std::vector<int>(std::size_t(size), 0));
      check_same_runs(r.path("whole_" + rule), r.path(name), kSteps, 1e-6);
      const auto all = read_run(r.path("whole_" + rule) + "/run.h5");
      const auto own = read_run(r.path(name) + "/run.h5");
      REQUIRE(all.norms.rows.size() == 2);
      check_same_norms(all, own, 1e-6);
      // Even shares, but for cuts between rows and whole matrices; with parameters masters count.
      if (shard == "parameters") continue;
      CHECK(double(own.optimizer_bytes) <
            (whole_matrices ? 0.75 : 1.15 / double(size)) * double(all.optimizer_bytes));
    }
  }
}

TEST_CASE("ranks: sharded state of 4 processes goes on with 1, 2 and 3", "[parallel]") {
  const Ranked r;
  const std::vector<std::string> settings = {kPairwise[0], "optimizer.gradient_clip=0",
                                             "parallel.shard=optimizer",
                                             "trainer.global_batch_tokens=384"};
  REQUIRE(run_program(r.words("whole", settings)).exit_code == 0);
  for (const std::int64_t next : {1, 2, 3}) {
    const auto name = "then" + std::to_string(next);
    auto shorter = settings;
    shorter.push_back("trainer.steps=6");
    shorter.push_back("schedule.steps=" + std::to_string(kSteps));
    auto longer = settings;
    longer.push_back("schedule.steps=" + std::to_string(kSteps));
    CHECK(RankedRun(r.words(name, shorter), 4).wait() == std::vector<int>(4, 0));
    CHECK(RankedRun(r.words(name, longer), next).wait() == std::vector<int>(std::size_t(next), 0));
    const auto x = read_run(r.path("whole") + "/run.h5"), y = read_run(r.path(name) + "/run.h5");
    REQUIRE(y.steps.size() == x.steps.size());
    // 12 micro-batches: 3 of each of 4 processes add up in another order than 4 of each of 3.
    CHECK(y.steps.back().loss == Approx(x.steps.back().loss).epsilon(1e-5));
    REQUIRE(y.processes.size() == 2);
    CHECK(y.processes[0].provenance.ranks == 4);
    CHECK(y.processes[1].provenance.ranks == next);
    // A run that starts from it writes at once what it has loaded.
    auto from = r.words(name + "_from", longer);
    from.insert(from.end(), {"--from", checkpoint_folder(r.path(name), 6).string()});
    CHECK(RankedRun(from, next).wait() == std::vector<int>(std::size_t(next), 0));
    check_same_checkpoints(r.path(name), r.path(name + "_from"), 6);
  }
}

TEST_CASE("ranks: gradients with their owners alone, over micro-batches, differ by rounding alone",
          "[parallel]") {
  const Ranked r;
  const std::vector<std::string> sharded = {"parallel.shard=gradients"};
  REQUIRE(run_program(r.words("whole")).exit_code == 0);
  CHECK(RankedRun(r.words("sharded", sharded), 2).wait() == std::vector<int>{0, 0});
  const auto x = read_run(r.path("whole") + "/run.h5"), y = read_run(r.path("sharded") + "/run.h5");
  REQUIRE(x.steps.size() == y.steps.size());
  for (std::size_t i = 0; i < x.steps.size(); ++i) {
    // float32 sums of four terms, carried through twelve steps
    CHECK(y.steps[i].loss == Approx(x.steps[i].loss).epsilon(1e-5));
  }
  CHECK(y.gradient_bytes == 0);
}

namespace {

// The largest of what the ranks' run holds, and what `plan` says of it.
struct Peaks {
  double measured, planned;
};
Peaks peaks_of(const Ranked& r, const std::string& name, const std::vector<std::string>& sets,
               std::int64_t ranks) {
  REQUIRE(RankedRun(r.words(name, sets), ranks).wait() == std::vector<int>(std::size_t(ranks), 0));
  auto words = r.words(name, sets);
  words.front() = "plan";
  const auto output = std::ranges::find(words, "--output");
  words.erase(output, output + 2);
  const auto threads = std::ranges::find(words, "--threads");
  words.erase(threads, threads + 2);
  words.insert(words.end(), {"--ranks", std::to_string(ranks), "--json"});
  const auto plan = nlohmann::json::parse(run_program(words).output);
  return {double(read_run(r.path(name) + "/run.h5").peak_allocated),
          plan["each_rank"]["peak_bytes"].get<double>()};
}

}  // namespace

TEST_CASE("ranks: the memory of each is what plan says, with every shard", "[parallel]") {
  const Ranked r;
  // Weights that are large beside activations, and buckets that are small beside weights.
  const std::vector<std::string> large = {"model.n_layer=8",
                                          "model.n_embd=384",
                                          "model.n_head=4",
                                          "trainer.steps=3",
                                          "trainer.precision=bf16",
                                          "trainer.activation_checkpointing=true",
                                          "trainer.micro_batch_size=1",
                                          "trainer.global_batch_tokens=64",
                                          "parallel.bucket_mb=1"};
  // Of four processes a bucket has one owner, where they share the optimizer.
  for (const std::int64_t ranks : {2, 4}) {
    double before = 0.0;
    for (const std::string shard : {"parameters", "gradients", "optimizer"}) {
      if (ranks == 4 && shard == "optimizer") continue;
      auto sets = large;
      sets.push_back("parallel.shard=" + shard);
      const auto peaks = peaks_of(r, shard + std::to_string(ranks), sets, ranks);
      INFO(shard << ", " << ranks << " processes");
      // Buckets that wait for their last gradient, tensors that are collected for the checkpoint.
      CHECK(peaks.measured == Approx(peaks.planned).epsilon(0.08));
      CHECK(peaks.measured > 1.05 * before);
      before = peaks.measured;
    }
  }
}

TEST_CASE("ranks: layers that are collected as they are used make the run of whole ones",
          "[parallel]") {
  const Ranked r;
  for (const std::string precision : {"fp32", "bf16", "bf16_autocast"}) {
    INFO(precision);
    const std::vector<std::string> whole = {
        kPairwise[0],           "optimizer.gradient_clip=0", "trainer.norms_every=5",
        "model.n_layer=3",      "hessian.every=12",          "hessian.lanczos.steps=4",
        "hessian.guards=false", "hessian.batches=2",         "trainer.precision=" + precision};
    REQUIRE(run_program(r.words("whole_" + precision, whole)).exit_code == 0);
    auto sharded = whole;
    sharded.push_back("parallel.shard=parameters");
    if (precision == "bf16") sharded.push_back("hessian.method=central_difference");
    sharded.push_back("trainer.activation_checkpointing=" +
                      std::string(precision == "bf16" ? "true" : "false"));
    const auto four = precision + "4";  // processes with one micro-batch each
    CHECK(RankedRun(r.words(four, sharded), 4).wait() == std::vector<int>(4, 0));
    check_same_runs(r.path("whole_" + precision), r.path(four), kSteps, 1e-6);
    const auto x = read_run(r.path("whole_" + precision) + "/run.h5");
    const auto y = read_run(r.path(four) + "/run.h5");
    check_same_norms(x, y, 1e-6);
    REQUIRE(x.hessian.summary.size() == y.hessian.summary.size());
    CHECK(y.hessian.summary.back().loss == Approx(x.hessian.summary.back().loss).epsilon(1e-5));
    CHECK(double(y.parameter_bytes) < 0.9 * double(x.parameter_bytes));
  }
}

TEST_CASE("ranks: collected layers have the bits of gradients with their owners, resumed by others",
          "[parallel]") {
  const Ranked r;
  const auto with = [](const std::string& shard, std::int64_t steps) {
    return std::vector<std::string>{"optimizer.gradient_clip=0",
                                    "model.n_layer=3",
                                    "trainer.precision=bf16",
                                    "parallel.shard=" + shard,
                                    "trainer.steps=" + std::to_string(steps),
                                    "schedule.steps=" + std::to_string(kSteps)};
  };
  for (const std::string shard : {"gradients", "parameters"}) {
    CHECK(RankedRun(r.words(shard, with(shard, 6)), 4).wait() == std::vector<int>(4, 0));
    CHECK(RankedRun(r.words(shard, with(shard, kSteps)), 2).wait() == std::vector<int>{0, 0});
  }
  check_same_runs(r.path("gradients"), r.path("parameters"), kSteps, 1e-6);
}

TEST_CASE("ranks: a micro-batch without a target waits for its layers like the others",
          "[parallel]") {
  const Ranked r;
  // Of two windows of 16 targets one in nine pairs has none.
  std::string mask(6000, '\0');
  for (std::size_t i = 0; i < mask.size(); i += 24) mask[i] = '\1';
  write_file_atomically(r.folder / "train.mask", mask);
  // 18 windows: one process has a batch more than the other to evaluate.
  const auto with = [](const std::string& shard) {
    return std::vector<std::string>{"model.n_layer=2", "parallel.shard=" + shard,
                                    "optimizer.gradient_clip=0", "data.validation_tokens=288"};
  };
  CHECK(RankedRun(r.words("gradients", with("gradients")), 2).wait() == std::vector<int>{0, 0});
  CHECK(RankedRun(r.words("parameters", with("parameters")), 2).wait() == std::vector<int>{0, 0});
  check_same_runs(r.path("gradients"), r.path("parameters"), kSteps, 1e-6);
}

TEST_CASE("ranks: with clipping a sharded optimizer differs by rounding alone", "[parallel]") {
  const Ranked r;
  const std::vector<std::string> whole = {kPairwise[0], "optimizer.gradient_clip=0.1",
                                          "trainer.precision=bf16"};
  auto sharded = whole;
  sharded.push_back("parallel.shard=optimizer");
  REQUIRE(run_program(r.words("whole", whole)).exit_code == 0);
  CHECK(RankedRun(r.words("sharded", sharded), 2).wait() == std::vector<int>{0, 0});
  const auto x = read_run(r.path("whole") + "/run.h5"), y = read_run(r.path("sharded") + "/run.h5");
  REQUIRE(x.steps.size() == y.steps.size());
  for (std::size_t i = 0; i < x.steps.size(); ++i) {
    CHECK(y.steps[i].loss == Approx(x.steps[i].loss).epsilon(1e-3));  // of bfloat16
    CHECK(y.steps[i].gradient_norm == Approx(x.steps[i].gradient_norm).epsilon(1e-2));
  }
}

TEST_CASE("ranks: bfloat16 weights whose masters stay with their owners: the bits of one process",
          "[parallel]") {
  const Ranked r;
  for (const std::string rule : {"adamw", "adam_mini"}) {
    INFO(rule);
    const std::vector<std::string> whole = {kPairwise[0],
                                            "optimizer.rule=" + rule,
                                            "optimizer.gradient_clip=0",
                                            "hessian.every=6",
                                            "hessian.lanczos.steps=4",
                                            "hessian.batches=2",
                                            "trainer.precision=bf16",
                                            "trainer.evaluate_every=6"};
    REQUIRE(run_program(r.words("whole_" + rule, whole)).exit_code == 0);
    for (const std::int64_t size : {2, 4}) {
      auto sharded = whole;
      sharded.push_back("parallel.shard=optimizer");
      const auto name = rule + std::to_string(size);
      // Half of the steps by as many processes, the rest by two.
      auto shorter = sharded;
      shorter.push_back("trainer.steps=6");
      shorter.push_back("schedule.steps=" + std::to_string(kSteps));
      auto longer = sharded;
      longer.push_back("schedule.steps=" + std::to_string(kSteps));
      CHECK(RankedRun(r.words(name, shorter), size).wait() ==
            std::vector<int>(std::size_t(size), 0));
      CHECK(RankedRun(r.words(name, longer), 2).wait() == std::vector<int>{0, 0});
      check_same_runs(r.path("whole_" + rule), r.path(name), kSteps, 1e-6);
      const auto x = read_run(r.path("whole_" + rule) + "/run.h5");
      const auto y = read_run(r.path(name) + "/run.h5");
      CHECK(double(y.optimizer_bytes) < 0.58 * double(x.optimizer_bytes));  // of two, in the end
      REQUIRE(x.hessian.summary.size() == y.hessian.summary.size());
      CHECK(y.hessian.summary.back().loss == Approx(x.hessian.summary.back().loss).epsilon(1e-5));
    }
  }
}

TEST_CASE("ranks: a spectrum by three processes is that of one, and so is one while training",
          "[parallel]") {
  const Ranked r;
  const auto words = [&](const std::string& name) {
    std::vector<std::string> all = {"spectrum",   r.config,      "--output",
                                    r.path(name), "--no-figure", "--threads",
                                    "1",          "--precision", "fp64"};
    for (const auto* set :
         {"hessian.batches=6", "hessian.batch_size=1", "hessian.lanczos.steps=12"}) {
      all.insert(all.end(), {"--set", set});
    }
    return all;
  };
  REQUIRE(run_program(words("one")).exit_code == 0);
  CHECK(RankedRun(words("three"), 3).wait() == std::vector<int>(3, 0));
  const auto ends = [&](const std::string& name) {
    return read_hessian_rows(Hdf5File::open_for_reading(r.path(name) + "/spectrum.h5")).eigenvalues;
  };
  const auto one = ends("one"), three = ends("three");
  REQUIRE(!one.empty());
  REQUIRE(one.size() == three.size());
  // float64: Lanczos magnifies the order of sums, least at the ends
  CHECK(three.front().value == Approx(one.front().value).epsilon(1e-8));
  const auto rows = [&](const std::string& name) {
    return read_hessian_rows(Hdf5File::open_for_reading(r.path(name) + "/spectrum.h5"));
  };
  const auto alone = rows("one"), shared = rows("three");
  REQUIRE(alone.summary.size() == shared.summary.size());
  for (std::size_t i = 0; i < alone.summary.size(); ++i) {
    if (std::isnan(alone.summary[i].trace)) continue;
    CHECK(shared.summary[i].trace == Approx(alone.summary[i].trace).epsilon(1e-8));
    CHECK(shared.summary[i].squared_frobenius ==
          Approx(alone.summary[i].squared_frobenius).epsilon(1e-8));
  }
  // The density, as moments: of its nodes, some of which Lanczos finds twice, the order is chance.
  const auto moment = [](const HessianRows& of, int power) {
    double sum = 0.0;
    for (const auto& node : of.quadrature) sum += node.weight * std::pow(node.node, power);
    return sum;
  };
  REQUIRE(!alone.quadrature.empty());
  for (const int power : {0, 2, 4}) {
    INFO("moment " << power);
    CHECK(moment(shared, power) == Approx(moment(alone, power)).epsilon(1e-6));
  }
  // Finished: left as it is, by all of them.
  CHECK(RankedRun(words("three"), 3).wait() == std::vector<int>(3, 0));

  // With weights that stay with their owners.
  const auto differences = [&](const std::string& name, const std::string& shard) {
    auto all = words(name);
    for (const auto& set : {std::string("hessian.method=central_difference"),
                            std::string("model.n_layer=3"), "parallel.shard=" + shard}) {
      all.insert(all.end(), {"--set", set});
    }
    return all;
  };
  REQUIRE(run_program(differences("whole", "none")).exit_code == 0);
  CHECK(RankedRun(differences("shares", "parameters"), 3).wait() == std::vector<int>(3, 0));
  const auto whole = ends("whole"), shares = ends("shares");
  REQUIRE(whole.size() == shares.size());
  CHECK(shares.front().value == Approx(whole.front().value).epsilon(1e-6));

  const std::vector<std::string> measured = {kPairwise[0], "hessian.every=6", "hessian.batches=4",
                                             "hessian.batch_size=1", "hessian.lanczos.steps=4"};
  REQUIRE(run_program(r.words("alone", measured)).exit_code == 0);
  CHECK(RankedRun(r.words("together", measured), 2).wait() == std::vector<int>{0, 0});
  check_same_runs(r.path("alone"), r.path("together"), kSteps);
  const auto x = read_run(r.path("alone") + "/run.h5").hessian.summary;
  const auto y = read_run(r.path("together") + "/run.h5").hessian.summary;
  REQUIRE(!x.empty());
  REQUIRE(x.size() == y.size());
  CHECK(y.back().loss == Approx(x.back().loss).epsilon(1e-5));
}

namespace {

// The numbers of a CSV, line by line; what is none is NaN.
std::vector<double> numbers_of(const std::string& path) {
  std::vector<double> numbers;
  auto whole = read_text_file(path);
  std::ranges::replace(whole, '\n', ',');
  std::stringstream text(whole);
  for (std::string word; std::getline(text, word, ',');) {
    char* end = nullptr;
    const double value = std::strtod(word.c_str(), &end);
    numbers.push_back(end == word.c_str() ? std::nan("") : value);
  }
  return numbers;
}

// To what float64 sums in another order differ by; the spread of equal values is the root of that.
void check_same_numbers(const std::string& one, const std::string& other) {
  const auto x = numbers_of(one), y = numbers_of(other);
  REQUIRE(!x.empty());
  REQUIRE(x.size() == y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK((std::isnan(x[i]) == std::isnan(y[i])));
    if (!std::isnan(x[i])) CHECK(y[i] == Approx(x[i]).epsilon(1e-5).margin(1e-7));
  }
}

}  // namespace

TEST_CASE("ranks: a partition and rates found by several processes are those of one",
          "[parallel]") {
  const Ranked r;
  const auto words = [&](const std::string& verb, const std::string& name) {
    std::vector<std::string> all = {verb, r.config, "--output", r.path(name), "--threads", "1"};
    for (const auto* set :
         {"hessian.precision=fp64", "hessian.batches=6", "hessian.batch_size=1",
          "discovery.vectors=2", "discovery.codes=2", "discovery.gradient_batches=8",
          "discovery.merge=true", "search_lr.method=curvature", "search_lr.samples=2",
          "search_lr.products=6", "search_lr.gradient_batches=8"}) {
      all.insert(all.end(), {"--set", set});
    }
    return all;
  };
  struct Search {
    std::string verb, table;
    std::int64_t processes;
  };
  for (const auto& [verb, table, size] :
       {Search{"partition", "scores.csv", 3}, Search{"search-lr", "rates.csv", 2}}) {
    INFO(verb);
    REQUIRE(run_program(words(verb, verb)).exit_code == 0);
    const auto shared = verb + " shared";
    CHECK(RankedRun(words(verb, shared), size).wait() == std::vector<int>(std::size_t(size), 0));
    check_same_numbers(r.path(verb) + "/" + table, r.path(shared) + "/" + table);
  }
  // Trials are processes of their own.
  auto by_loss = words("partition", "loss"), by_trials = words("search-lr", "trials");
  by_loss.insert(by_loss.end(), {"--objective", "loss"});
  by_trials.insert(by_trials.end(), {"--set", "search_lr.method=coordinate"});
  CHECK(RankedRun(by_loss, 2).wait() == std::vector<int>(2, kExitBadInput));
  CHECK(RankedRun(by_trials, 2).wait() == std::vector<int>(2, kExitBadInput));
}

TEST_CASE("ranks: what several processes cannot do is bad input on each", "[parallel]") {
  const Ranked r;
  const std::vector<int> refused(3, kExitBadInput);
  CHECK(RankedRun(r.words("uneven"), 3).wait() == refused);
  const std::vector<std::string> pairwise = {kPairwise[0], "parallel.shard=gradients"};
  CHECK(RankedRun(r.words("pairwise", pairwise), 2).wait() == std::vector<int>(2, kExitBadInput));
  const std::vector<std::string> all_tensors = {"optimizer.rule=badam", "parallel.shard=optimizer"};
  CHECK(RankedRun(r.words("badam", all_tensors), 2).wait() == std::vector<int>(2, kExitBadInput));
  const std::vector<std::string> split = {"trainer.precision=bf16", "parallel.shard=optimizer",
                                          "trainer.master_weights=residual_8bit"};
  CHECK(RankedRun(r.words("split", split), 2).wait() == std::vector<int>(2, kExitBadInput));
  const auto quadratic = r.path("quadratic.yaml");
  write_file_atomically(quadratic,
                        "name: q\ndata: {kind: no_data}\nmodel: {family: quadratic}\n"
                        "optimizer: {rule: sgd, learning_rate: 0.1}\n"
                        "trainer: {steps: 2, micro_batch_size: 1, global_batch_tokens: 2}\n"
                        "parallel: {shard: parameters}\n");
  CHECK(RankedRun({"train", quadratic, "--output", r.path("quadratic")}, 2).wait() ==
        std::vector<int>(2, kExitBadInput));
  CHECK(RankedRun({"train", quadratic, "--output", r.path("quadratic"), "--set",
                   "parallel.shard=optimizer"},
                  2)
            .wait() == std::vector<int>(2, 0));
  const std::vector<std::string> released = {"trainer.gradients=released",
                                             "trainer.global_batch_tokens=0"};
  CHECK(RankedRun(r.words("released", released), 1).wait() == std::vector<int>{0});
}

// It waits for nobody then: nothing is there that would be lost.
TEST_CASE("Ranks: a process that waits for the others ends at a signal", "[parallel]") {
  const Ranked r;
  ::setenv("MASTER_ADDR", "127.0.0.1", 1);
  ::setenv("MASTER_PORT", std::to_string(free_port()).c_str(), 1);
  ::setenv("WORLD_SIZE", "2", 1);
  ::setenv("RANK", "1", 1);
  const pid_t process = start_program(r.words("run"));
  for (const auto* name : {"MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"}) ::unsetenv(name);
  ::sleep(2);
  ::kill(process, SIGTERM);
  int status = 0;
  for (int i = 0; i < 100 && ::waitpid(process, &status, WNOHANG) == 0; ++i) ::usleep(50'000);
  const bool ended = ::kill(process, 0) != 0;
  if (!ended) ::kill(process, SIGKILL);
  CHECK(ended);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
}
