"""Builds, tests and times blockwise on this machine's GPU within some minutes, and writes one JSON.

    python3 tests/benchmarks/gpu/gpu_check.py --minutes 10 --output runs/gpu-check

Stages in their order: build, tests, sanitizer, optimizers, training step, products, memory, ranks, runs. What
one stage finds wrong does not stop the next. Exit code 0 where all is well, 1 where a stage failed or a
figure missed its target, 2 without a GPU. Another call on the same folder trains on and leaves the
earlier JSON. --dry-run takes tiny sizes and the CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import machine  # noqa: E402
from build_stage import build  # noqa: E402
from check_report import FAILED, NO_TIME, PASSED, SKIPPED  # noqa: E402
from check_report import CheckReport, StageFailed, StageResult, StageSkipped  # noqa: E402
from check_run import ROOT, CheckRun  # noqa: E402
from device_tests import device_tests, sanitizer  # noqa: E402


@dataclass(frozen=True)
class Stage:
    name: str
    call: Callable[[CheckRun], None]
    least: float  # seconds below which it is not begun
    needs_programs: bool = True


def optimizers(run: CheckRun) -> None:
    from optimizer_times import optimizer_times

    optimizer_times(run)


def training_step(run: CheckRun) -> None:
    from training_times import training_times

    training_times(run)


def products(run: CheckRun) -> None:
    from product_times import product_times

    product_times(run)


def memory(run: CheckRun) -> None:
    from memory_cap import memory_cap

    memory_cap(run)


def ranks(run: CheckRun) -> None:
    from rank_runs import rank_runs

    rank_runs(run)


def runs(run: CheckRun) -> None:
    from training_runs import training_runs

    training_runs(run)


STAGES = (
    Stage("build", build, 30, needs_programs=False),
    Stage("tests", device_tests, 20),
    Stage("sanitizer", sanitizer, 20),
    Stage("optimizers", optimizers, 20),
    Stage("training step", training_step, 40),
    Stage("products", products, 20),
    Stage("memory", memory, 60),
    Stage("ranks", ranks, 60),
    Stage("runs", runs, 60),
)


def result_of(stage: Stage, run: CheckRun) -> StageResult:
    start = monotonic()

    def result(state: str, reason: str = "") -> StageResult:
        return StageResult(stage.name, state, round(monotonic() - start, 1), reason)

    if run.left() < stage.least:
        return result(NO_TIME, f"{run.left():.0f} s were left, and it needs {stage.least:.0f}")
    if stage.needs_programs and not (run.program.exists() and run.tests.exists()):
        return result(FAILED, "the programs were not built")
    try:
        stage.call(run)
    except StageSkipped as skipped:
        return result(SKIPPED, str(skipped))
    except StageFailed as failed:
        return result(FAILED, str(failed))
    except Exception as error:  # noqa: BLE001  the stages after it are run all the same
        return result(FAILED, f"{type(error).__name__}: {error}")
    return result(PASSED)


def print_result(stage: StageResult) -> None:
    reason = f": {stage.reason}" if stage.reason else ""
    print(f"{stage.name:<14} {stage.seconds:6.1f} s  {stage.state}{reason}", flush=True)


def print_figures(report: CheckReport) -> None:
    for figure in report.figures:
        target = f"   wanted {figure.target}: {'yes' if figure.met else 'NO'}" if figure.target else ""
        print(f"  {figure.name:<62} {figure.value:10.4g} {figure.unit}{target}")


def options_of(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="for everything together")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/gpu-check")
    parser.add_argument("--build", type=Path, default=ROOT / "build/gpu")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--stages", nargs="+", choices=names, default=names, help="these alone, in their order")
    parser.add_argument("--dry-run", action="store_true", help="every stage that the CPU can, at tiny sizes")
    return parser.parse_args(words)


def next_report(folder: Path) -> Path:
    """check.json, or behind earlier calls check-2.json and so on."""
    number = 1
    while (path := folder / ("check.json" if number == 1 else f"check-{number}.json")).exists():
        number += 1
    return path


def main(words: list[str] | None = None) -> int:
    options = options_of(words)
    reason = "" if options.dry_run else machine.why_no_gpu()
    if reason:
        print(f"gpu-check: {reason}", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    device = "cpu" if options.dry_run else "cuda"
    report = CheckReport(next_report(options.output.resolve()), machine.describe(device))
    deadline = monotonic() + 60 * options.minutes
    built = options.build.resolve()
    run = CheckRun(report, options.output.resolve(), device, deadline, built / "blockwise", built / "test_cuda")
    for stage in (stage for stage in STAGES if stage.name in options.stages):
        report.add_stage(result_of(stage, run))
        print_result(report.stages[-1])
    print_figures(report)
    print(f"written: {report.path}")
    return 1 if report.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
