#!/usr/bin/env bash
# Runs one fuzz target: every committed input once, then new ones for a while.
#   bash tests/fuzz/run.sh build/fuzz/fuzz_NAME
# Environment: BLOCKWISE_FUZZ_SECONDS, how long (0: the committed inputs alone). Without it, or where
# the target is not built, exits with 77, which ctest takes as skipped. BLOCKWISE_FUZZ_SEED: of the
# inputs (default: another one each time). What brings a reader down is
# left in build/fuzz/crashes; copy it to tests/fuzz/corpus/NAME/crash_WHAT with the fix.
set -euo pipefail

program=$(realpath -m "$1")
name=$(basename "$program")
name=${name#fuzz_}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ ! -x $program || -z ${BLOCKWISE_FUZZ_SECONDS:-} ]]; then
  echo "skipped: make fuzz builds and runs $name"
  exit 77
fi

# Leaks: LibTorch's start leaves some that nobody of ours can end.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export OMP_NUM_THREADS=1
folder=$(dirname "$program")
crashes=$folder/crashes/$name
found=$folder/corpus/$name
mkdir -p "$crashes" "$found"
options=(-seed="${BLOCKWISE_FUZZ_SEED:-0}" -timeout=20 -malloc_limit_mb=1000 -artifact_prefix="$crashes/")
seeds=("$root/tests/fuzz/corpus/$name")
case $name in
  run_config) seeds+=("$root/configs") options+=(-max_len=20000 -rss_limit_mb=3000) ;;
  model_config) options+=(-max_len=4000 -rss_limit_mb=3000) ;;
  run_file)
    # The process that looks first may die of an input; the answer of the one that asked counts.
    options+=(-max_len=60000 -handle_segv=0 -handle_bus=0 -handle_abrt=0 -handle_ill=0 -handle_fpe=0)
    # libFuzzer watches the resident size from a thread, and the sanitizer's allocator, unlike
    # glibc's, is not made for a fork beside one: the child can wait for a lock for ever.
    options+=(-rss_limit_mb=0)
    ;;
  *) options+=(-max_len=20000 -rss_limit_mb=3000) ;;
esac

find "${seeds[@]}" -type f -print0 | sort -z | xargs -0 "$program" "${options[@]}" >"$crashes/log" 2>&1 ||
  { tail -n 60 "$crashes/log"; exit 1; }
[[ $BLOCKWISE_FUZZ_SECONDS -gt 0 ]] || exit 0
"$program" "${options[@]}" -max_total_time="$BLOCKWISE_FUZZ_SECONDS" -print_final_stats=1 "$found" \
  "${seeds[@]}" >"$crashes/log" 2>&1 || { tail -n 60 "$crashes/log"; exit 1; }
grep -E "^(Done|stat::)" "$crashes/log"
