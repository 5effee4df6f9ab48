#include "core/partition/block_rates.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/base/error.hpp"
#include "core/partition/partition_file.hpp"
#include "core/partition/tensor_file.hpp"

namespace blockwise {
namespace {

constexpr const char* kRatesFormat = "blockwise-rates";
constexpr std::int64_t kRatesVersion = 1;

// "0.5*3 2*1"
std::string runs_text(const std::vector<double>& values) {
  std::string out;
  for (std::size_t i = 0; i < values.size();) {
    auto end = i;
    while (end < values.size() && values[end] == values[i]) ++end;
    out += fmt::format("{}{}*{}", out.empty() ? "" : " ", values[i], end - i);
    i = end;
  }
  return out;
}

std::string section_text(const SectionRates& section) {
  std::string out = fmt::format("      - {{rate: \"{}\"", runs_text(section.rate));
  if (!section.low.empty()) {
    out += fmt::format(",\n         low: \"{}\",\n         high: \"{}\"", runs_text(section.low),
                       runs_text(section.high));
  }
  return out + "}\n";
}

class RatesReader : private TensorFileReader {
 public:
  RatesReader(const std::filesystem::path& path, const ParameterLayout& layout,
              const Partition& partition)
      : TensorFileReader(path, "file of block rates", kRatesFormat, kRatesVersion, layout),
        partition_(partition) {}

  BlockRates read() {
    require_keys(root(),
                 {"format", "version", "partition", "learning_rate", "provenance", "tensors"});
    check_partition();
    BlockRates rates;
    rates.learning_rate = rate(root(), text(root(), "learning_rate"));
    rates.provenance = provenance();
    rates.tensors.resize(layout().parameters().size());
    for_each_tensor([&](const YAML::Node& node, std::size_t place) {
      rates.tensors[place] = read_tensor(node, place);
    });
    return rates;
  }

 private:
  // Older files name the partition by the hash that does not cover the roles.
  void check_partition() const {
    const auto theirs = text(root(), "partition"), ours = partition_hash(layout(), partition_);
    require(root(), theirs == ours || theirs == partition_hash_without_roles(layout(), partition_),
            fmt::format("of the partition {}, the run's is {}", theirs.substr(0, 12),
                        ours.substr(0, 12)));
  }

  double rate(const YAML::Node& node, const std::string& word) const {
    double value = 0.0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    require(node,
            error == std::errc() && end == word.data() + word.size() && std::isfinite(value) &&
                value >= 0.0,
            fmt::format("'{}' is not a rate of at least 0", word.substr(0, 40)));
    return value;
  }

  std::vector<SectionRates> read_tensor(const YAML::Node& node, std::size_t place) const {
    const auto& name = layout().parameters()[place].name;
    require_keys(node, {"name", "sections"});
    const auto& sections = partition_.tensors()[place].sections;
    const auto entries = list(node, "sections");
    require(node, entries.size() == sections.size(),
            fmt::format("tensor '{}': 'sections' is to have {} entries", name, sections.size()));
    std::vector<SectionRates> rates;
    auto section = sections.begin();
    for (const auto& entry : entries) {
      require_keys(entry, {"rate", "low", "high"});
      const auto blocks = (section++)->block_count();
      rates.push_back({runs(entry, "rate", name, blocks), {}, {}});
      if (!has(entry, "low") && !has(entry, "high")) continue;
      rates.back().low = runs(entry, "low", name, blocks);
      rates.back().high = runs(entry, "high", name, blocks);
    }
    return rates;
  }

  std::vector<double> runs(const YAML::Node& node, const char* key, const std::string& tensor,
                           std::int64_t blocks) const {
    const auto all = text(node, key);
    std::vector<double> values;
    for (std::size_t at = 0; at < all.size();) {
      const auto end = std::min(all.find(' ', at), all.size());
      take_run(node, all.substr(at, end - at), tensor, blocks, values);
      at = end + 1;
    }
    const auto count = std::ssize(values);
    require(node, count == 1 || count == blocks,
            fmt::format("tensor '{}': {} has {} values for {} blocks", tensor, key, count, blocks));
    return values;
  }

  void take_run(const YAML::Node& node, const std::string& word, const std::string& tensor,
                std::int64_t blocks, std::vector<double>& values) const {
    const auto star = word.find('*');
    std::int64_t count = 1;
    if (star != std::string::npos) {
      const auto* end = word.data() + word.size();
      const auto [last, error] = std::from_chars(word.data() + star + 1, end, count);
      require(node, error == std::errc() && last == end && count > 0 && count <= blocks,
              fmt::format("tensor '{}': '{}' is not VALUE*REPETITIONS of {} blocks", tensor,
                          word.substr(0, 40), blocks));
    }
    require(node, count <= blocks - std::ssize(values),
            fmt::format("tensor '{}': more values than its {} blocks", tensor, blocks));
    values.insert(values.end(), static_cast<std::size_t>(count), rate(node, word.substr(0, star)));
  }

  const Partition& partition_;
};

}  // namespace

bool SectionRates::all_one() const {
  return std::ranges::all_of(rate, [](double r) { return r == 1.0; });
}

BlockRates BlockRates::ones(const Partition& partition) {
  BlockRates rates;
  for (const auto& tensor : partition.tensors()) {
    rates.tensors.emplace_back(tensor.sections.size());
  }
  return rates;
}

double BlockRates::mean(std::size_t tensor, const TensorPartition& partition) const {
  double sum = 0.0;
  for (std::size_t s = 0; s < partition.sections.size(); ++s) {
    const auto& rates = tensors[tensor][s].rate;
    const double blocks = double(partition.sections[s].block_count());
    const double total = std::accumulate(rates.begin(), rates.end(), 0.0);
    sum += rates.size() == 1 ? rates.front() * blocks : total;
  }
  return sum / double(partition.block_count());
}

std::string block_rates_text(const ParameterLayout& layout, const Partition& partition,
                             const BlockRates& rates) {
  std::string out = fmt::format(
      "# What the learning rate of every block of a partition is multiplied with.\n"
      "format: {}\nversion: {}\npartition: {}\nlearning_rate: {}\n",
      kRatesFormat, kRatesVersion, partition_hash(layout, partition), rates.learning_rate);
  out += provenance_text(rates.provenance) + "tensors:\n";
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    out += fmt::format("  - name: {}\n    sections:\n", quoted_yaml(layout.parameters()[i].name));
    for (const auto& section : rates.tensors[i]) out += section_text(section);
  }
  return out;
}

BlockRates read_block_rates(const std::filesystem::path& path, const ParameterLayout& layout,
                            const Partition& partition) {
  return RatesReader(path, layout, partition).read();
}

}  // namespace blockwise
