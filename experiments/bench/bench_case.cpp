#include "experiments/bench/bench_case.hpp"

#include <benchmark/benchmark.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <ranges>

#include "core/base/error.hpp"

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

BenchGroup chosen_cases(BenchGroup group, const std::vector<std::string>& names) {
  const auto all = group.cases | std::views::transform(&BenchCase::name);
  const auto is_chosen = [&names](const std::string& name) {
    return std::ranges::find(names, name) != names.end();
  };
  for (const auto& name : names) {
    require_input(std::ranges::find(all, name) != all.end(),
                  "--cases: {} has no case '{}'; it has: {}", group.name, name,
                  fmt::join(all, "; "));
  }
  std::erase_if(group.cases, [&](const BenchCase& each) { return !is_chosen(each.name); });
  for (auto& each : group.cases) {
    if (!is_chosen(each.limit)) each.limit.clear();
    if (!is_chosen(each.baseline)) each.baseline.clear();
  }
  return group;
}

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
