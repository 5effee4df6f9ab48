"""The table of `blockwise curves` in the formats of other tools:

python -m blockwise.files.curve_files tensorboard curves.csv DIR
python -m blockwise.files.curve_files wandb curves.csv DIR

A folder DIR/RUN with an event file per run, or what `wandb sync` uploads. Needs tensorboardX or
wandb; neither is among this package's requirements.
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from .input_file import open_input

_ROW = ("step", "tokens", "seconds", "quantity", "value")


class CurveFileError(Exception):
    """Bad input, or a package that is missing; the message says what to do."""


@dataclass(frozen=True)
class Point:
    step: int
    tokens: int
    seconds: float
    quantity: str
    value: float


@dataclass(frozen=True)
class CurvesOfRun:
    """All points of one run, by step; settings: its stage and what the sweep set for it."""

    run: str
    group: str
    seed: int
    settings: dict[str, str]
    points: list[Point]


def read_curves(lines: TextIO) -> Iterator[CurvesOfRun]:
    """The runs of the table, one at a time."""
    table = csv.DictReader(lines)
    names = table.fieldnames or []
    if not {"run", "group", "seed", *_ROW} <= set(names):
        raise CurveFileError("not a table of `blockwise curves`")
    settings = [name for name in names if name not in ("run", "group", "seed", *_ROW)]
    for run, rows_of_run in groupby(table, key=lambda row: row["run"]):
        if not run or run in (".", "..") or "/" in run or "\0" in run:
            raise CurveFileError(f"the run {run!r} cannot be a folder's name")
        rows = list(rows_of_run)
        try:
            points = [
                Point(int(row["step"]), int(row["tokens"]), float(row["seconds"]),
                      row["quantity"], float(row["value"]))
                for row in rows
            ]  # fmt: skip
            seed = int(rows[0]["seed"])
        except (TypeError, ValueError) as error:
            raise CurveFileError(f"the run {run!r}: {error}") from error
        points.sort(key=lambda point: point.step)
        chosen = {name: rows[0][name] for name in settings if rows[0][name]}
        yield CurvesOfRun(run, rows[0]["group"], seed, chosen, points)


def write_tensorboard(runs: Iterator[CurvesOfRun], folder: Path) -> int:
    """An event file in folder/RUN for every run; those that are there are replaced.

    The wall time of an event is the run's seconds, so TensorBoard's axis RELATIVE is training time.
    Returns the number of runs.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise CurveFileError(_missing("tensorboardX")) from None
    count = 0
    for curves in runs:
        target = folder / curves.run
        for old in target.glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(str(target)) as writer:
            for point in curves.points:
                writer.add_scalar(point.quantity, point.value, point.step, point.seconds)
        count += 1
    return count


def write_wandb(runs: Iterator[CurvesOfRun], folder: Path) -> int:
    """An offline run in folder/wandb for every run, for `wandb sync`. Returns their number."""
    os.environ |= {"WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_CONSOLE": "off"}
    try:
        import wandb
    except ImportError:
        raise CurveFileError(_missing("wandb")) from None
    count = 0
    for curves in runs:
        config: dict[str, Any] = {**curves.settings, "seed": curves.seed}
        run = wandb.init(mode="offline", dir=str(folder), project=folder.resolve().parent.name,
                         group=curves.group, name=curves.run, config=config)  # fmt: skip
        for step, points in groupby(curves.points, key=lambda point: point.step):
            row: dict[str, float] = {}
            for point in points:
                row |= {point.quantity: point.value, "tokens": point.tokens,
                        "seconds": point.seconds}  # fmt: skip
            run.log({key: value for key, value in row.items() if not math.isnan(value)}, step=step)
        run.finish()
        count += 1
    return count


def _missing(package: str) -> str:
    return (
        f"the Python package {package} is missing: {sys.executable} -m pip install {package} "
        "(another Python: BLOCKWISE_PYTHON=path/to/python)"
    )


_WRITERS = {
    "tensorboard": (write_tensorboard, "tensorboard --logdir {}"),
    "wandb": (write_wandb, "wandb sync {}/wandb/offline-run-*"),
}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 3 or arguments[0] not in _WRITERS:
        print("usage: python -m blockwise.files.curve_files tensorboard|wandb CSV DIR", file=sys.stderr)
        return 2
    write, show = _WRITERS[arguments[0]]
    table, folder = Path(arguments[1]), Path(arguments[2])
    try:
        with open_input(table) as stream:
            lines = (line.decode("utf-8") for line in stream)
            count = write(read_curves(lines), folder)  # type: ignore[arg-type]
    except CurveFileError as error:
        print(f"blockwise: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"blockwise: {error.filename or folder}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{count} run{'' if count == 1 else 's'} in {folder}. Next: {show.format(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
