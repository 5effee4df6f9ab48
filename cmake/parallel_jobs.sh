#!/usr/bin/env bash
# Prints how many compilers to run at once: one per core, but no more than the free memory holds at
# 1.5 GB each, which is what a file with LibTorch's headers takes.
set -euo pipefail
readonly kib_per_job=1500000

memory=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
# A container may own less than the machine has.
for limit_file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
  limit=$(cat "$limit_file" 2>/dev/null || true)
  if [[ $limit =~ ^[0-9]{1,15}$ ]] && ((limit / 1024 < memory)); then
    memory=$((limit / 1024))
  fi
done

jobs=$((memory / kib_per_job))
cores=$(nproc)
((jobs <= cores)) || jobs=$cores
((jobs >= 1)) || jobs=1
echo "$jobs"
