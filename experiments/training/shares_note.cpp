#include "experiments/training/shares_note.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace blockwise {
namespace {

constexpr std::size_t kMostListed = 8;

template <typename Number>
std::string listed(const std::vector<Number>& numbers, const char* format) {
  const auto text = [&](Number number) { return fmt::format(fmt::runtime(format), number); };
  const auto [least, most] = std::ranges::minmax(numbers);
  if (numbers.size() > kMostListed) return fmt::format("{} to {}", text(least), text(most));
  std::vector<std::string> words;
  for (const auto number : numbers) words.push_back(text(number));
  return fmt::format("{}", fmt::join(words, ", "));
}

// By process.
std::vector<double> percents(const ParameterLayout& layout, const Owners& owners,
                             std::size_t count) {
  std::vector<double> percents;
  for (std::size_t r = 0; r < count; ++r) {
    const auto size = owners.place(std::int64_t(r), layout.size());
    percents.push_back(100.0 * double(size) / double(layout.size()));
  }
  return percents;
}

std::vector<std::int64_t> whole_tensors(const ParameterLayout& layout, const Owners& owners,
                                        const RowsTogether& rows_together, std::size_t count) {
  std::vector<std::int64_t> whole(count, 0);
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    if (parameter.rows() < 2 || rows_together(i) < parameter.rows()) continue;
    const auto bounds = owners.within(parameter.offset, parameter.offset + parameter.size());
    const auto behind = std::ranges::upper_bound(bounds, 0);
    ++whole[std::size_t(behind - bounds.begin() - 1)];
  }
  return whole;
}

}  // namespace

std::string shares_note(const ParameterLayout& layout, const Owners& owners,
                        const RowsTogether& rows_together) {
  const auto count = owners.units().front().size() - 1;
  const auto note = fmt::format("the optimizer is in {} shares of {} % of the parameters", count,
                                listed(percents(layout, owners, count), "{:.1f}"));
  const auto whole = whole_tensors(layout, owners, rows_together, count);
  if (std::accumulate(whole.begin(), whole.end(), std::int64_t{0}) == 0) return note;
  return fmt::format("{}; tensors that stay whole, by process: {}", note, listed(whole, "{}"));
}

}  // namespace blockwise
