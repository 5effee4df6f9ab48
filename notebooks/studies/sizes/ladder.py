"""What runs of large models took, beside their plans, as Markdown.

    .venv/bin/python -m studies.sizes.ladder runs/llama-1b runs/llama-7b

A column for each run, which may still be running: sizes, losses, the seconds of a step and where they
go, and the peak beside what `blockwise plan` says of the run's own configuration. Seconds are medians.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import Run, read_run

from ..program import ProgramError, program_json

PARTS = ("forward", "backward", "optimizer")


def planned(run: Run) -> dict[str, Any]:
    """The plan of the configuration that the run file holds."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(run.config, encoding="utf-8")
        return program_json(["plan", str(config)])


def ladder_rows(runs: Sequence[Run], plans: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of cells, the first one the heads."""
    pairs = list(zip(runs, plans, strict=True))

    def row(head: str, cell: Callable[[Run, dict[str, Any]], str]) -> list[str]:
        return [head, *(cell(run, plan) for run, plan in pairs)]

    return [
        row("", lambda run, plan: plan["name"]),
        row("parameters", lambda run, plan: f"{plan['parameters']:,}"),
        row("steps", lambda run, plan: f"{len(run.steps)}"),
        row("tokens a step", lambda run, plan: f"{run.steps['tokens'].diff().median():.0f}"),
        row("training loss, first and last", _losses),
        row("validation loss, first and last", _evaluations),
        row("seconds a step", lambda run, plan: _seconds(run, "seconds")),
        *(
            row(f"of which {part}", lambda run, plan, part=part: _seconds(run, f"seconds_{part}"))
            for part in PARTS
        ),
        row("hours of steps", lambda run, plan: f"{run.steps['seconds'].sum() / 3600:.1f}"),
        row("paged in a step, GB read and written", _paged),
        row("seconds waited for pages in a step", _waited),
        row("tensors and pages at the peak, GB", lambda run, plan: f"{_peak(run) / 1e9:.3f}"),
        row("planned", lambda run, plan: f"{plan['peak_bytes'] / 1e9:.3f}"),
        row("peak resident, GB", lambda run, plan: f"{run.memory['peak_resident'] / 1e9:.2f}"),
        row("planned, from and to", _resident_plan),
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _losses(run: Run, plan: dict[str, Any]) -> str:
    return _ends(run.steps["loss"])


def _evaluations(run: Run, plan: dict[str, Any]) -> str:
    return _ends(run.evaluations["loss"])


def _ends(losses: pd.Series) -> str:
    return "-" if losses.empty else f"{losses.iloc[0]:.3f}, {losses.iloc[-1]:.3f}"


def _seconds(run: Run, column: str) -> str:
    seconds = run.steps[column].median()
    if not math.isfinite(seconds):
        return "-"
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}"


def _peak(run: Run) -> float:
    """Allocated tensors, and the pages of a file that stay resident, which are not among them."""
    return run.memory["peak_allocated"] + _resident_pages(run)


def _resident_pages(run: Run) -> float:
    """Bounds of trainer.master_resident_mb and optimizer.state.resident_mb, as far as they are set."""
    lines = [line.strip() for line in run.config.splitlines()]
    return sum(
        float(line.split(":")[1]) * 2**20 for line in lines if line.split(":")[0].endswith("resident_mb")
    )


def _paged(run: Run, plan: dict[str, Any]) -> str:
    if run.paging.empty or run.steps.empty:
        return "-"
    each = [run.paging[name] / len(run.steps) / 1e9 for name in ("bytes_read", "bytes_written")]
    return f"{each[0]:.2f}, {each[1]:.2f}"


def _waited(run: Run, plan: dict[str, Any]) -> str:
    if run.paging.empty or run.steps.empty:
        return "-"
    return f"{run.paging['seconds_waited'] / len(run.steps):.1f}"


def _resident_plan(run: Run, plan: dict[str, Any]) -> str:
    least, most = plan["resident_bytes_least"], plan["resident_bytes_most"]
    return f"{least / 1e9:.2f}, {most / 1e9:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m studies.sizes.ladder", description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="+", help="folders of runs, or their run.h5")
    options = parser.parse_args(arguments)
    try:
        runs = [read_run(path) for path in options.runs]
        print(markdown(ladder_rows(runs, [planned(run) for run in runs])))
    except (RunFileError, ProgramError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
