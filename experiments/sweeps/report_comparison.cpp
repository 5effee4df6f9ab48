#include "experiments/sweeps/report_comparison.hpp"

#include <algorithm>
#include <tuple>

#include "experiments/sweeps/holm.hpp"

namespace blockwise {
namespace {

bool ranks_before(const ReportRow& a, const ReportRow& b) {
  const auto key = [](const ReportRow& row) {
    return std::tuple(!row.final_loss, row.seeds.diverged > 0,
                      row.final_loss ? row.final_loss->mean : 0.0);
  };
  return key(a) < key(b);
}

std::optional<PairedTest> paired(const std::map<std::int64_t, double>& own,
                                 const std::map<std::int64_t, double>& baseline) {
  std::vector<double> a, b;
  for (const auto& [seed, loss] : own) {
    const auto pair = baseline.find(seed);
    if (pair == baseline.end()) continue;
    a.push_back(loss);
    b.push_back(pair->second);
  }
  if (a.empty()) return std::nullopt;
  return paired_t_test(a, b);
}

// A run that diverged has no final loss to come down to.
std::map<std::int64_t, LossCourse> finished_courses(const ReportRow& row) {
  auto courses = row.courses;
  std::erase_if(courses, [&](const auto& run) { return !row.final_losses.contains(run.first); });
  return courses;
}

// The p-values of all comparisons as one family.
void correct(std::vector<ReportRow>& rows, std::optional<PairedTest> ReportRow::*test,
             std::optional<double> ReportRow::*holm) {
  std::vector<double> p_values;
  std::vector<ReportRow*> compared;
  for (auto& row : rows) {
    if (!(row.*test) || !(row.*test)->p_value) continue;
    p_values.push_back(*(row.*test)->p_value);
    compared.push_back(&row);
  }
  const auto adjusted = holm_adjusted(p_values);
  for (std::size_t i = 0; i < compared.size(); ++i) compared[i]->*holm = adjusted[i];
}

// Of seeds that are left when others diverged: a difference, and no test, which would be of a
// selection.
std::optional<PairedTest> tested(std::optional<PairedTest> of_those_left, bool all) {
  if (of_those_left && !all) of_those_left->p_value.reset();
  return of_those_left;
}

}  // namespace

void rank_rows(std::vector<ReportRow>& rows) { std::ranges::stable_sort(rows, ranks_before); }

void compare_rows(std::vector<ReportRow>& rows, std::size_t baseline) {
  auto& reference = rows[baseline];
  if (!reference.final_loss) return;
  reference.is_baseline = true;
  const auto baseline_courses = finished_courses(reference);
  for (auto& row : rows) {
    row.time_to_baseline = time_to_baseline(row.courses, baseline_courses);
    if (row.is_baseline) continue;
    const bool all = row.seeds.diverged + reference.seeds.diverged == 0;
    row.against_baseline = tested(paired(row.final_losses, reference.final_losses), all);
    row.test_against_baseline = tested(paired(row.test_losses, reference.test_losses), all);
  }
  correct(rows, &ReportRow::against_baseline, &ReportRow::holm_p_value);
  correct(rows, &ReportRow::test_against_baseline, &ReportRow::test_holm_p_value);
}

}  // namespace blockwise
