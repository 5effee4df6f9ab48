// manifest.json of a sweep, and the report of it.
#include "experiments/sweeps/report.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  folder.write("manifest.json", bytes);
  const auto report = make_report(folder.path());
  report_table(report);
  report_csv(report);
  report_json(report);
}
