// What the cases took, as rows for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "core/text/text_table.hpp"
#include "experiments/bench/bench_case.hpp"

namespace blockwise {

// Of one group: times as time_cases() gave them.
TextTable bench_table(const BenchGroup& group, const std::vector<BenchTime>& times);
// A list of objects: name, seconds (median, least, most), and where they are known
// bytes_per_second, flops_per_second, tokens_per_second, share_of_limit, baseline_ratio.
nlohmann::ordered_json bench_json(const BenchGroup& group, const std::vector<BenchTime>& times);

}  // namespace blockwise
