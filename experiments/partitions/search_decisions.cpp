#include "experiments/partitions/search_decisions.hpp"

#include <fmt/format.h>

#include "core/text/text_table.hpp"

namespace blockwise {
namespace {

std::string optional_number(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "";
}

}  // namespace

std::string decisions_csv(const std::vector<SearchDecision>& decisions) {
  std::string out = "stage,role,candidate,values,seeds,loss,difference,half_width,p_value,taken\n";
  for (const auto& decision : decisions) {
    out += fmt::format("{},{},{},{},{},{:.5f},{:.5f},{},{},{}\n", decision.stage, decision.role,
                       decision.candidate, decision.values, decision.seeds, decision.loss,
                       decision.difference, optional_number(decision.half_width),
                       optional_number(decision.p_value), decision.taken ? 1 : 0);
  }
  return out;
}

std::string decisions_report(const std::vector<SearchDecision>& decisions, std::size_t width) {
  TextTable table({key_column("stage"), key_column("role"), key_column("candidate"),
                   value_column("values"), value_column("seeds"), value_column("loss"),
                   value_column("difference, nats"), text_column("taken")});
  for (const auto& decision : decisions) {
    const auto interval = decision.half_width ? fmt::format(" ± {:.4f}", *decision.half_width) : "";
    table.add(
        {decision.stage, decision.role, decision.candidate, fmt::format("{}", decision.values),
         fmt::format("{}", decision.seeds), fmt::format("{:.4f}", decision.loss),
         fmt::format("{:+.4f}{}", decision.difference, interval), decision.taken ? "yes" : ""});
  }
  return table.text(width);
}

}  // namespace blockwise
