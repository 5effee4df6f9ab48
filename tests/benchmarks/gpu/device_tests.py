"""The tests of tests/cuda, one process each, and two of NVIDIA's tools over one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from check_report import StageFailed, StageSkipped
from check_run import CheckRun

WATCHED = "device steps: a little of every kind, clipped"
# Of the tests that a rehearsal takes: the others run in CTest.
REHEARSED = (WATCHED, "device training: the losses of the CPU in float32")


def escaped(name: str) -> str:
    """For Catch2, where a comma separates names."""
    return name.replace(",", "\\,")


def all_names(run: CheckRun) -> list[str]:
    # Catch2 2.13 ends with the number of tests.
    _, text = run.call("test-names", [run.tests, "--list-test-names-only"], 60)
    return [line.strip() for line in text.splitlines() if line.startswith("device ")]


def device_tests(run: CheckRun) -> None:
    names = list(REHEARSED) if run.is_rehearsal else all_names(run)
    failed = []
    for number, name in enumerate(names):
        code, _ = run.call(f"test-{number}", [run.tests, escaped(name)], 120)
        if code != 0:
            failed.append(f"'{name}' (test-{number}.log)")
    run.report.add_figure("device tests that pass", len(names) - len(failed), f"of {len(names)}")
    if failed or not names:
        raise StageFailed(f"failed: {', '.join(failed)}" if names else f"{run.tests} lists no tests")


def find_sanitizer() -> str | None:
    nvcc = shutil.which("nvcc")
    beside = [Path(nvcc).resolve().parent / "compute-sanitizer"] if nvcc else []
    for path in [*beside, Path("/usr/local/cuda/bin/compute-sanitizer")]:
        if path.is_file():
            return str(path)
    return shutil.which("compute-sanitizer")


def sanitizer(run: CheckRun) -> None:
    tool = find_sanitizer()
    if run.is_rehearsal or tool is None:
        raise StageSkipped("a rehearsal has no GPU" if run.is_rehearsal else "compute-sanitizer is not installed")
    # Each tensor then is an allocation of its own, whose ends are watched.
    alone = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    for kind in ("memcheck", "racecheck"):
        words = [tool, "--tool", kind, "--error-exitcode", "9", run.tests, escaped(WATCHED)]
        run.finish(kind, words, 180, **alone)
