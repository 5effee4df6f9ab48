"""Holds the instructions per element that callgrind counts against those of counts.json.

    python3 tests/instructions/check_counts.py valgrind build/release/count_instructions [--record]

A count above MARGIN times the recorded one fails: somebody made a kernel slower, or knows why and
records anew. Counts are those of g++ 12's code for AVX2; other compilers are let off by the wider margin.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("counts.json")
MARGIN = 1.1
OTHER_COMPILER = 1.5
SKIPPED = 77


def counted(valgrind: str, program: str, folder: Path) -> dict[str, float]:
    """Instructions per element by case."""
    result = subprocess.run(
        [
            valgrind,
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
            program,
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        sys.stderr.write(result.stderr)
        # Of valgrind, not of what it runs.
        unknown = "unrecognised instruction" in result.stderr or "valgrind: fatal" in result.stderr
        sys.exit(SKIPPED if unknown else 1)
    elements = json.loads(result.stdout)
    counts = {}
    for dump in folder.glob("out.*"):
        text = dump.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if name and total and name[1] in elements:
            counts[name[1]] = int(total[1]) / elements[name[1]]
    return {name: counts[name] for name in elements}


def has_avx2() -> bool:
    return "avx2" in Path("/proc/cpuinfo").read_text().split()


def compared(counts: dict[str, float], recorded: dict[str, float], margin: float) -> int:
    """Prints a row per case; the number of those that fail."""
    failed = 0
    for name in sorted(counts.keys() | recorded.keys()):
        count, bound = counts.get(name), recorded.get(name)
        fails = count is None or bound is None or count > margin * bound
        failed += fails
        shown = ["-" if value is None else f"{value:.2f}" for value in (count, bound)]
        print(f"{name:32} {shown[0]:>8} recorded {shown[1]:>8}{'  FAILS' if fails else ''}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("valgrind")
    parser.add_argument("program")
    parser.add_argument("--compiler", default="GNU 12", help="that made the program")
    parser.add_argument("--record", action="store_true", help="write counts.json")
    options = parser.parse_args()
    if not has_avx2():
        print("skipped: this processor has no AVX2, whose kernels the counts are of")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        counts = counted(options.valgrind, options.program, Path(folder))
    if options.record:
        rounded = {name: round(count, 2) for name, count in counts.items()}
        RECORDED.write_text(json.dumps(rounded, indent=2) + "\n")
        return 0
    margin = MARGIN if options.compiler == "GNU 12" else OTHER_COMPILER
    return 1 if compared(counts, json.loads(RECORDED.read_text()), margin) else 0


if __name__ == "__main__":
    sys.exit(main())
