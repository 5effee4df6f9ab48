// Limits of control groups, from made up trees of /proc and /sys.
#include "core/memory/group_memory.hpp"

#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("group_memory: the least that is left in the group and those around it, version 2") {
  const TemporaryFolder root;
  CHECK(!group_memory(root.path()));
  write(root / "proc/self/cgroup", "0::/jobs/one\n");
  CHECK(!group_memory(root.path()));
  const auto jobs = root / "sys/fs/cgroup/jobs";
  write(jobs / "one/memory.max", "max\n");
  write(jobs / "one/memory.current", "500\n");
  CHECK(!group_memory(root.path()));
  write(jobs / "memory.max", "4000\n");
  write(jobs / "memory.current", "1500\n");
  CHECK(group_memory(root.path()) == 2500);
  // Pages of files are taken back.
  write(jobs / "memory.stat", "anon 600\nactive_file 300\ninactive_file 100\n");
  CHECK(group_memory(root.path()) == 2900);
  write(jobs / "one/memory.max", "1000\n");
  CHECK(group_memory(root.path()) == 500);
  write(jobs / "one/memory.current", "1200\n");
  CHECK(group_memory(root.path()) == 0);
}

TEST_CASE("group_memory: version 1, whose largest number is no limit") {
  const TemporaryFolder root;
  write(root / "proc/self/cgroup", "7:memory:/docker/abc\n4:cpu,cpuacct:/\n");
  const auto mount = root / "sys/fs/cgroup/memory";
  write(mount / "memory.limit_in_bytes", "9223372036854771712\n");
  write(mount / "memory.usage_in_bytes", "1000\n");
  CHECK(!group_memory(root.path()));
  write(mount / "docker/abc/memory.limit_in_bytes", "8000\n");
  write(mount / "docker/abc/memory.usage_in_bytes", "3000\n");
  write(mount / "docker/abc/memory.stat", "active_file 1\ntotal_active_file 400\ntotal_rss 2\n");
  CHECK(group_memory(root.path()) == 5400);
}
