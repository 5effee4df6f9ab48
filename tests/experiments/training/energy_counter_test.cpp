// Energy from counters that a folder stands for.
#include "experiments/training/energy_counter.hpp"

#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

class Zones {
 public:
  void set(const std::string& zone, const std::string& file, const std::string& text) const {
    fs::create_directories(folder_ / zone);
    std::ofstream(folder_ / zone / file) << text << '\n';
  }
  void add(const std::string& zone, const std::string& name, const std::string& energy) const {
    set(zone, "name", name);
    set(zone, "max_energy_range_uj", "1000000");
    set(zone, "energy_uj", energy);
  }
  const fs::path& path() const { return folder_.path(); }
  fs::path operator/(const char* rest) const { return folder_ / rest; }

 private:
  TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("Energy: packages and memory add up, parts of them do not count") {
  const Zones zones;
  zones.add("intel-rapl:0", "package-0", "100");
  zones.add("intel-rapl:0:0", "core", "50");
  zones.add("intel-rapl:0:1", "dram", "7");
  zones.add("intel-rapl:1", "package-1", "900000");
  zones.add("intel-rapl:2", "psys", "5");
  EnergyCounter counter(zones.path());
  CHECK(counter.count() == 0);
  zones.set("intel-rapl:0", "energy_uj", "160");
  zones.set("intel-rapl:0:0", "energy_uj", "90");
  zones.set("intel-rapl:0:1", "energy_uj", "10");
  zones.set("intel-rapl:2", "energy_uj", "500");
  CHECK(counter.count() == 63);
  // One counter has started again at its range.
  zones.set("intel-rapl:1", "energy_uj", "11");
  CHECK(counter.count() == 63 + 100011);
}

TEST_CASE("Energy: without readable counters there is none") {
  const Zones zones;
  CHECK_FALSE(EnergyCounter(zones / "nothing").is_readable());
  CHECK_FALSE(EnergyCounter(zones.path()).count());
  zones.add("intel-rapl:0", "package-0", "100");
  zones.add("intel-rapl:1", "package-1", "no number");
  CHECK_FALSE(EnergyCounter(zones.path()).is_readable());
  zones.set("intel-rapl:1", "energy_uj", "5");
  EnergyCounter counter(zones.path());
  CHECK(counter.count() == 0);
  fs::remove(zones / "intel-rapl:1/energy_uj");
  CHECK_FALSE(counter.count());
  // What was missed meanwhile is not known.
  zones.set("intel-rapl:1", "energy_uj", "9");
  CHECK_FALSE(counter.count());
}
