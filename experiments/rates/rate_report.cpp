#include "experiments/rates/rate_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

// ---- for programs

std::string targets_table(const ResolvedRateSearch& search, const RateSearchOutcome& outcome) {
  std::string out =
      "tensor,role,layer,section,block,elements,curvature,curvature_low,curvature_high,"
      "largest,smallest,smallest_error,smallest_converged,products,mean_v,mean_v_low,mean_v_high\n";
  for (std::size_t i = 0; i < search.targets.size(); ++i) {
    const auto& target = search.targets[i];
    const auto& rate = outcome.measured.rates[i];
    const auto& parameter = search.layout.parameters()[target.tensor];
    out += fmt::format(
        "{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.3g},{},{},{:.6g},{:.6g},"
        "{:.6g}\n",
        parameter.name, role_name(section_of(search.partition, target).role), parameter.layer,
        target.section, target.block, target.index.numel(), rate.curvature.value,
        rate.curvature.low, rate.curvature.high, rate.largest, rate.smallest, rate.smallest_error,
        rate.smallest_converged ? 1 : 0, rate.products, rate.mean_v.value, rate.mean_v.low,
        rate.mean_v.high);
  }
  return out;
}

std::string groups_table(const RateSearchOutcome& outcome) {
  std::string out = "group,factor,best,low,high,difference,half_width,p_value,taken\n";
  for (const auto& rate : outcome.groups) {
    const auto test = rate.test.value_or(PairedTest{});
    out += fmt::format("{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n", rate.group.name,
                       rate.factor, rate.best.value, rate.best.low, rate.best.high,
                       test.difference.mean, test.difference.half_width.value_or(NAN),
                       test.p_value.value_or(NAN), rate.taken ? 1 : 0);
  }
  return out;
}

std::string left_out_table(const ResolvedRateSearch& search, const RateSearchOutcome& outcome) {
  std::string out =
      "left_out,sections,rate,low,high,mean_v,curvature,difference,half_width,p_value,at_end\n";
  for (const auto& left_out : outcome.left_out) {
    std::string names;
    for (const auto i : left_out.targets) {
      const auto& target = search.targets[i];
      names += fmt::format("{}{}:{}", names.empty() ? "" : " ",
                           search.layout.parameters()[target.tensor].name,
                           role_name(section_of(search.partition, target).role));
    }
    out += fmt::format("{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n",
                       left_out.targets.size(), names, left_out.rate.value, left_out.rate.low,
                       left_out.rate.high, left_out.mean_v, left_out.curvature,
                       left_out.to_adamw.difference.mean,
                       left_out.to_adamw.difference.half_width.value_or(NAN),
                       left_out.to_adamw.p_value.value_or(NAN), left_out.at_end ? 1 : 0);
  }
  return out;
}

// ---- for people

std::string interval_text(const RateInterval& rate) {
  if (!(rate.value > 0.0)) return "-";
  return fmt::format("{:.3g} [{:.3g}, {:.3g}]", rate.value, rate.low, rate.high);
}

std::string difference_text(const PairedTest& test) {
  const auto width = test.difference.half_width;
  return fmt::format("{:+.4f}{}", test.difference.mean,
                     width ? fmt::format(" ± {:.4f}", *width) : "");
}

std::string measured_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome,
                            std::size_t width) {
  TextTable table({key_column("tensor"), text_column("role"), text_column("block"),
                   text_column("best rate, curvature"), text_column("implied by mean(v)")});
  constexpr std::size_t kMostLines = 60;
  for (std::size_t i = 0; i < std::min(kMostLines, search.targets.size()); ++i) {
    const auto& target = search.targets[i];
    table.add({search.layout.parameters()[target.tensor].name,
               std::string(role_name(section_of(search.partition, target).role)),
               target.block < 0 ? "all" : fmt::format("{}", target.block),
               interval_text(outcome.measured.rates[i].curvature),
               interval_text(outcome.measured.rates[i].mean_v)});
  }
  auto out = table.text(width);
  if (search.targets.size() > kMostLines) {
    out += fmt::format("and {} more, in rates.csv\n", search.targets.size() - kMostLines);
  }
  out += wrapped(fmt::format("v: {}\n", moment_text(search.moment_batches)), width, 2);
  if (outcome.measured.left_out_batches > 0) {
    out += wrapped(fmt::format("v: {} of them have no target that counts and are left out\n",
                               outcome.measured.left_out_batches),
                   width, 2);
  }
  return out;
}

std::string groups_report(const RateSearchOutcome& outcome, std::size_t width) {
  TextTable table({key_column("group"), value_column("factor"), text_column("lowest loss at"),
                   text_column("difference, nats")});
  for (const auto& rate : outcome.groups) {
    table.add({rate.group.name, fmt::format("{:.3g}", rate.factor), interval_text(rate.best),
               rate.test ? difference_text(*rate.test) : "not reached"});
  }
  return table.text(width);
}

std::string left_out_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome,
                            std::size_t width) {
  TextTable table({key_column("left out"), text_column("searched rate"), value_column("mean(v)"),
                   value_column("curvature"), text_column("loss - AdamW's"), text_column("what")});
  for (const auto& left_out : outcome.left_out) {
    std::string names;
    for (const auto i : left_out.targets) {
      const auto& target = search.targets[i];
      names += fmt::format("{}{} {}", names.empty() ? "" : ", ",
                           role_name(section_of(search.partition, target).role),
                           search.layout.parameters()[target.tensor].layer);
    }
    table.add({fmt::format("{}", left_out.targets.size()), interval_text(left_out.rate),
               fmt::format("{:.3g}", left_out.mean_v), fmt::format("{:.3g}", left_out.curvature),
               difference_text(left_out.to_adamw),
               names + (left_out.at_end ? "; the best is at the grid's end" : "")});
  }
  return table.text(width);
}

}  // namespace

std::string rate_table(const ResolvedRateSearch& search, const RateSearchOutcome& outcome) {
  const auto& method = search.config.search_lr.method;
  if (method == "coordinate") return groups_table(outcome);
  if (method == "leave_out") return left_out_table(search, outcome);
  return targets_table(search, outcome);
}

std::string rate_report(const ResolvedRateSearch& search, const RateSearchOutcome& outcome,
                        std::size_t width) {
  const auto& method = search.config.search_lr.method;
  if (method == "coordinate") return groups_report(outcome, width);
  if (method == "leave_out") return left_out_report(search, outcome, width);
  return measured_report(search, outcome, width);
}

}  // namespace blockwise
