#include "experiments/bench/bench_case.hpp"

#include <benchmark/benchmark.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <map>

namespace blockwise {
namespace {

// Seconds of every repetition, by name.
class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const auto& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      seconds_[run.run_name.function_name].push_back(run.real_accumulated_time /
                                                     double(run.iterations));
    }
  }
  BenchTime of(const std::string& name) {
    auto& seconds = seconds_[name];
    std::ranges::sort(seconds);
    return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
  }

 private:
  std::map<std::string, std::vector<double>> seconds_;
};

void interleave() {
  char program[] = "blockwise", random[] = "--benchmark_enable_random_interleaving=true";
  char* words[] = {program, random};
  int count = 2;
  benchmark::Initialize(&count, words);
}

// Where the CPU does not compute itself, calls return before their work is done.
void wait_for(const at::Device& device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace

std::vector<BenchTime> time_cases(const BenchGroup& group, const BenchLength& length,
                                  at::Device device) {
  interleave();
  for (const auto& each : group.cases) {
    each.run();
    wait_for(device);
    const auto loop = [&each, &device](benchmark::State& state) {
      for (auto _ : state) {
        each.run();
        wait_for(device);
      }
    };
    benchmark::RegisterBenchmark(each.name.c_str(), loop)
        ->UseRealTime()
        ->MinTime(length.seconds)
        ->Repetitions(length.repetitions);
  }
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();
  std::vector<BenchTime> times;
  for (const auto& each : group.cases) times.push_back(collector.of(each.name));
  return times;
}

}  // namespace blockwise
