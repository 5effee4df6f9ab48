#include "experiments/rates/rate_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

// ---- for programs

std::string targets_table(const ResolvedRateSearch& s, const RateSearchOutcome& outcome) {
  std::string out =
      "tensor,role,layer,section,block,elements,curvature,curvature_low,curvature_high,"
      "largest,smallest,smallest_error,smallest_converged,products,mean_v,mean_v_low,mean_v_high\n";
  for (std::size_t t = 0; t < s.targets.size(); ++t) {
    const auto& target = s.targets[t];
    const auto& r = outcome.measured[t];
    const auto& block = s.layout.blocks()[target.tensor];
    out += fmt::format(
        "{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.3g},{},{},{:.6g},{:.6g},"
        "{:.6g}\n",
        block.name, role_name(section_of(s.partition, target).role), block.layer, target.section,
        target.block, target.index.numel(), r.curvature.value, r.curvature.low, r.curvature.high,
        r.largest, r.smallest, r.smallest_error, r.smallest_converged ? 1 : 0, r.products,
        r.mean_v.value, r.mean_v.low, r.mean_v.high);
  }
  return out;
}

std::string groups_table(const RateSearchOutcome& outcome) {
  std::string out = "group,factor,best,low,high,difference,half_width,p_value,taken\n";
  for (const auto& g : outcome.groups) {
    const auto test = g.test.value_or(PairedTest{});
    out += fmt::format("{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n", g.group.name,
                       g.factor, g.best.value, g.best.low, g.best.high, test.difference.mean,
                       test.difference.half_width.value_or(NAN), test.p_value.value_or(NAN),
                       g.taken ? 1 : 0);
  }
  return out;
}

std::string left_out_table(const ResolvedRateSearch& s, const RateSearchOutcome& outcome) {
  std::string out =
      "left_out,sections,rate,low,high,mean_v,curvature,difference,half_width,p_value,at_end\n";
  for (const auto& l : outcome.left_out) {
    std::string names;
    for (const auto t : l.targets) {
      const auto& target = s.targets[t];
      names +=
          fmt::format("{}{}:{}", names.empty() ? "" : " ", s.layout.blocks()[target.tensor].name,
                      role_name(section_of(s.partition, target).role));
    }
    out += fmt::format("{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n",
                       l.targets.size(), names, l.rate.value, l.rate.low, l.rate.high, l.mean_v,
                       l.curvature, l.to_adamw.difference.mean,
                       l.to_adamw.difference.half_width.value_or(NAN),
                       l.to_adamw.p_value.value_or(NAN), l.at_end ? 1 : 0);
  }
  return out;
}

// ---- for people

std::string interval_text(const RateInterval& e) {
  return e.value > 0.0 ? fmt::format("{:.3g} [{:.3g}, {:.3g}]", e.value, e.low, e.high) : "-";
}

std::string difference_text(const PairedTest& test) {
  const auto width = test.difference.half_width;
  return fmt::format("{:+.4f}{}", test.difference.mean,
                     width ? fmt::format(" ± {:.4f}", *width) : "");
}

std::string measured_report(const ResolvedRateSearch& s, const RateSearchOutcome& outcome,
                            std::size_t width) {
  TextTable table({key_column("tensor"), text_column("role"), text_column("block"),
                   text_column("best rate, curvature"), text_column("implied by mean(v)")});
  constexpr std::size_t kMostLines = 60;
  for (std::size_t t = 0; t < std::min(kMostLines, s.targets.size()); ++t) {
    const auto& target = s.targets[t];
    table.add({s.layout.blocks()[target.tensor].name,
               std::string(role_name(section_of(s.partition, target).role)),
               target.block < 0 ? "all" : fmt::format("{}", target.block),
               interval_text(outcome.measured[t].curvature),
               interval_text(outcome.measured[t].mean_v)});
  }
  auto out = table.text(width);
  if (s.targets.size() > kMostLines) {
    out += fmt::format("and {} more, in rates.csv\n", s.targets.size() - kMostLines);
  }
  out += wrapped(fmt::format("v: {}\n", moment_text(s.moment_batches)), width, 2);
  if (outcome.left_out_batches > 0) {
    out += wrapped(fmt::format("v: {} of them have no target that counts and are left out\n",
                               outcome.left_out_batches),
                   width, 2);
  }
  return out;
}

std::string groups_report(const RateSearchOutcome& outcome, std::size_t width) {
  TextTable table({key_column("group"), value_column("factor"), text_column("lowest loss at"),
                   text_column("difference, nats")});
  for (const auto& g : outcome.groups) {
    table.add({g.group.name, fmt::format("{:.3g}", g.factor), interval_text(g.best),
               g.test ? difference_text(*g.test) : "not reached"});
  }
  return table.text(width);
}

std::string left_out_report(const ResolvedRateSearch& s, const RateSearchOutcome& outcome,
                            std::size_t width) {
  TextTable table({key_column("left out"), text_column("searched rate"), value_column("mean(v)"),
                   value_column("curvature"), text_column("loss - AdamW's"), text_column("what")});
  for (const auto& l : outcome.left_out) {
    std::string names;
    for (const auto t : l.targets) {
      const auto& target = s.targets[t];
      names += fmt::format("{}{} {}", names.empty() ? "" : ", ",
                           role_name(section_of(s.partition, target).role),
                           s.layout.blocks()[target.tensor].layer);
    }
    table.add({fmt::format("{}", l.targets.size()), interval_text(l.rate),
               fmt::format("{:.3g}", l.mean_v), fmt::format("{:.3g}", l.curvature),
               difference_text(l.to_adamw),
               names + (l.at_end ? "; the best is at the grid's end" : "")});
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
