// Quotas of control groups, from made up trees of /proc and /sys.
#include "core/base/cpu_quota.hpp"

#include "core/memory/device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("cpu_quota: the smallest of the group and those around it, version 2") {
  const TemporaryFolder root;
  CHECK(!cpu_quota(root.path()));  // no control groups
  write_file(root / "proc/self/cgroup", "0::/jobs/one\n");
  CHECK(!cpu_quota(root.path()));
  write_file(root / "sys/fs/cgroup/jobs/one/cpu.max", "max 100000\n");
  CHECK(!cpu_quota(root.path()));
  write_file(root / "sys/fs/cgroup/jobs/cpu.max", "150000 100000\n");
  CHECK(cpu_quota(root.path()) == 1.5);
  write_file(root / "sys/fs/cgroup/jobs/one/cpu.max", "400000 100000\n");
  CHECK(cpu_quota(root.path()) == 1.5);
  write_file(root / "sys/fs/cgroup/jobs/one/cpu.max", "50000 100000\n");
  CHECK(cpu_quota(root.path()) == 0.5);
}

TEST_CASE("cpu_quota: in a container whose group's path is the host's, version 2 and 1") {
  const TemporaryFolder root;
  write_file(root / "proc/self/cgroup", "0::/not/seen/here\n");
  write_file(root / "sys/fs/cgroup/cpu.max", "200000 100000\n");
  CHECK(cpu_quota(root.path()) == 2.0);
  const TemporaryFolder first;
  write_file(first / "proc/self/cgroup", "7:memory:/m\n4:cpu,cpuacct:/docker/abc\n");
  const auto group = first / "sys/fs/cgroup/cpu,cpuacct";
  write_file(group / "cpu.cfs_quota_us", "-1\n");
  write_file(group / "cpu.cfs_period_us", "100000\n");
  CHECK(!cpu_quota(first.path()));
  write_file(group / "docker/abc/cpu.cfs_quota_us", "300000\n");
  write_file(group / "docker/abc/cpu.cfs_period_us", "100000\n");
  CHECK(cpu_quota(first.path()) == 3.0);
}

TEST_CASE("thread_count: what is asked for, then OMP_NUM_THREADS, then the cores") {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("OMP_NUM_THREADS", "3,2", 1);
  CHECK(thread_count(0) == 3);
  CHECK(thread_count(5) == 5);
  for (const auto* nonsense : {"", "many", "-1", "99999999999999999999"}) {
    ::setenv("OMP_NUM_THREADS", nonsense, 1);
    CHECK(thread_count(0) == available_threads());
  }
  if (before == nullptr) {
    ::unsetenv("OMP_NUM_THREADS");
  } else {
    ::setenv("OMP_NUM_THREADS", kept.c_str(), 1);
  }
}
