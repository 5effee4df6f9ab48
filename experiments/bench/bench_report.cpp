#include "experiments/bench/bench_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

struct Rates {
  std::optional<double> bytes, flops, tokens;  // per second
  std::optional<double> share, ratio;
};

class Reporter {
 public:
  Reporter(const BenchGroup& group, const std::vector<BenchTime>& times)
      : group_(group), times_(times) {
    check_equal(group.cases.size(), times.size(), "times of the group");
  }

  Rates rates(std::size_t i) const {
    const auto& each = group_.cases[i];
    Rates rates;
    if (each.bytes > 0.0) rates.bytes = each.bytes / times_[i].median;
    if (each.flops > 0.0) rates.flops = each.flops / times_[i].median;
    if (each.tokens > 0.0) rates.tokens = each.tokens / times_[i].median;
    if (!each.limit.empty()) rates.share = share(rates, place_of(each.limit));
    if (!each.baseline.empty()) {
      rates.ratio = times_[i].median / times_[place_of(each.baseline)].median;
    }
    return rates;
  }

 private:
  std::size_t place_of(const std::string& name) const {
    const auto found = std::ranges::find(group_.cases, name, &BenchCase::name);
    if (found == group_.cases.end()) {
      throw InvariantError(fmt::format("the group has no case '{}'", name));
    }
    return std::size_t(found - group_.cases.begin());
  }

  double share(const Rates& own, std::size_t limit) const {
    const auto& most = group_.cases[limit];
    const double seconds = times_[limit].median;
    return most.flops > 0.0 ? own.flops.value() / (most.flops / seconds)
                            : own.bytes.value() / (most.bytes / seconds);
  }

  const BenchGroup& group_;
  const std::vector<BenchTime>& times_;
};

std::string text_of(const std::optional<double>& value, double unit, int digits) {
  return value ? fmt::format("{:.{}f}", *value / unit, digits) : "-";
}

}  // namespace

TextTable bench_table(const BenchGroup& group, const std::vector<BenchTime>& times) {
  TextTable table({key_column(group.name), value_column("ms"), value_column("share of limit"),
                   value_column("of baseline"), value_column("GB/s"), value_column("GFLOP/s"),
                   value_column("tokens/s"), detail_column("least ms"), detail_column("most ms")});
  const Reporter reporter(group, times);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto rates = reporter.rates(i);
    const auto milliseconds = [](double seconds) { return fmt::format("{:.3g}", 1e3 * seconds); };
    table.add({group.cases[i].name, milliseconds(times[i].median),
               rates.share ? fmt::format("{:.0f} %", 100.0 * *rates.share) : "-",
               text_of(rates.ratio, 1.0, 2), text_of(rates.bytes, 1e9, 1),
               text_of(rates.flops, 1e9, 0), text_of(rates.tokens, 1.0, 0),
               milliseconds(times[i].least), milliseconds(times[i].most)});
  }
  return table;
}

nlohmann::ordered_json bench_json(const BenchGroup& group, const std::vector<BenchTime>& times) {
  auto rows = nlohmann::ordered_json::array();
  const Reporter reporter(group, times);
  for (std::size_t i = 0; i < times.size(); ++i) {
    nlohmann::ordered_json row = {{"name", group.cases[i].name},
                                  {"seconds", times[i].median},
                                  {"seconds_least", times[i].least},
                                  {"seconds_most", times[i].most}};
    const auto rates = reporter.rates(i);
    const auto put = [&row](const char* key, const std::optional<double>& value) {
      if (value) row[key] = *value;
    };
    put("bytes_per_second", rates.bytes);
    put("flops_per_second", rates.flops);
    put("tokens_per_second", rates.tokens);
    put("share_of_limit", rates.share);
    put("baseline_ratio", rates.ratio);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace blockwise
