#include "experiments/training/found_on.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "core/partition/tensor_file.hpp"

namespace blockwise {

std::string seeds_text(const std::vector<std::int64_t>& seeds) {
  return fmt::format("{}", fmt::join(seeds, ", "));
}

std::vector<std::int64_t> seeds_from_text(const std::string& text) {
  std::vector<std::int64_t> seeds;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find(", ", begin), text.size());
    std::int64_t seed = 0;
    const auto parsed = std::from_chars(text.data() + begin, text.data() + end, seed);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + end) seeds.push_back(seed);
    begin = end + 2;
  }
  return seeds;
}

std::vector<std::int64_t> seed_range(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  return seeds;
}

std::vector<std::int64_t> found_on_seeds(const OptimizerConfig& optimizer) {
  std::set<std::int64_t> seeds;
  for (const auto* file : {&optimizer.partition.file, &optimizer.block_lr}) {
    if (file->empty()) continue;
    for (const auto& [key, text] : read_provenance_section(*file)) {
      if (key != kFoundOnKey) continue;
      for (const auto seed : seeds_from_text(text)) seeds.insert(seed);
    }
  }
  return {seeds.begin(), seeds.end()};
}

}  // namespace blockwise
