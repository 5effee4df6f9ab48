// Limits of control groups, from made up trees of /proc and /sys.
#include "core/memory/group_memory.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("group_memory: the least that is left in the group and those around it, version 2") {
  const TemporaryFolder root;
  CHECK(!group_memory(root.path()));
  write_file(root / "proc/self/cgroup", "0::/jobs/one\n");
  CHECK(!group_memory(root.path()));
  const auto jobs = root / "sys/fs/cgroup/jobs";
  write_file(jobs / "one/memory.max", "max\n");
  write_file(jobs / "one/memory.current", "500\n");
  CHECK(!group_memory(root.path()));
  write_file(jobs / "memory.max", "4000\n");
  write_file(jobs / "memory.current", "1500\n");
  CHECK(group_memory(root.path()) == 2500);
  // Pages of files are taken back.
  write_file(jobs / "memory.stat", "anon 600\nactive_file 300\ninactive_file 100\n");
  CHECK(group_memory(root.path()) == 2900);
  write_file(jobs / "one/memory.max", "1000\n");
  CHECK(group_memory(root.path()) == 500);
  write_file(jobs / "one/memory.current", "1200\n");
  CHECK(group_memory(root.path()) == 0);
}

TEST_CASE("group_memory: version 1, whose largest number is no limit") {
  const TemporaryFolder root;
  write_file(root / "proc/self/cgroup", "7:memory:/docker/abc\n4:cpu,cpuacct:/\n");
  const auto mount = root / "sys/fs/cgroup/memory";
  write_file(mount / "memory.limit_in_bytes", "9223372036854771712\n");
  write_file(mount / "memory.usage_in_bytes", "1000\n");
  CHECK(!group_memory(root.path()));
  write_file(mount / "docker/abc/memory.limit_in_bytes", "8000\n");
  write_file(mount / "docker/abc/memory.usage_in_bytes", "3000\n");
  write_file(mount / "docker/abc/memory.stat",
             "active_file 1\ntotal_active_file 400\ntotal_rss 2\n");
  CHECK(group_memory(root.path()) == 5400);
}
