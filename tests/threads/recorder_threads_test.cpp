// A run is recorded by one thread while others take and give back tensors and another process
// reads.
#include <ATen/ATen.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "core/memory/memory_meter.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/example_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kSteps = 500;

// Reads until the run is finished: rows only come.
void follow(const std::filesystem::path& path) {
  std::size_t seen = 0;
  while (!std::filesystem::exists(path)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (auto run = read_run(path); run.state != RunState::finished; run = read_run(path)) {
    if (run.steps.size() < seen) throw std::runtime_error("rows have gone");
    seen = run.steps.size();
  }
}

void record_all(RunRecorder& recorder) {
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    recorder.record(example_step(step));
    if (step % 50 == 0) recorder.record(example_evaluation(step, 4.0));
  }
  recorder.set_status(RunState::finished, "", kSteps);
  recorder.close();
}

}  // namespace

TEST_CASE("A run is recorded by a thread of its own, metered and read at once") {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  // Before there are threads, and before the file is open here: a process that inherits the
  // writer's open file would look at the writer's state of then, not at the disk.
  ChildProcess reader([&](const auto&) { follow(path); });
  auto recorder = create_example_run(path);
  const MemoryMeter meter(c10::kCPU);
  std::vector<std::thread> threads;
  threads.emplace_back([&] { record_all(recorder); });
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) at::empty({1024});
    });
  }
  for (int k = 0; k < 200; ++k) at::empty({1024});
  for (auto& thread : threads) thread.join();
  const auto result = reader.wait();
  INFO(result.text);
  CHECK(result.exit_code == 0);
  CHECK(meter.peak_allocated() >= 4096);
  CHECK(read_run(path).steps.size() == kSteps);
}
