#include <fmt/format.h>

#include <memory>

#include "experiments/commands/command.hpp"
#include "experiments/report.hpp"
#include "experiments/terminal.hpp"

namespace blockwise {
namespace {

struct ReportOptions {
  std::string folder;
  bool csv = false;
  bool json = false;
  TableWidth tables;
};

int report_command(const ReportOptions& options) {
  const auto report = make_report(options.folder);
  fmt::print("{}", options.csv    ? report_csv(report)
                   : options.json ? report_json(report)
                                  : report_table(report, options.tables.columns()));
  return 0;
}

}  // namespace

CommandAction add_report_options(CLI::App& verb) {
  auto options = std::make_shared<ReportOptions>();
  verb.add_option("folder", options->folder, "folder of a sweep or of a run")->required();
  auto* csv = verb.add_flag("--csv", options->csv, "one line per configuration, for spreadsheets");
  verb.add_flag("--json", options->json, "everything, for programs")->excludes(csv);
  options->tables.add_flag(verb);
  return [options] { return report_command(*options); };
}

}  // namespace blockwise
