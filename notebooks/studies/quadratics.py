"""The study of block-diagonal quadratics: which optimizer comes how far in 100 steps.

    python -m studies.quadratics --run               # runs it, then prints the table
    python -m studies.quadratics runs/quadratics     # prints the table of what was run
    python -m studies.quadratics --run --small --output /tmp/small

f(w) = 1/2 sum_b w_b' H_b w_b over three dense blocks of 30. Within a block the eigenvalues are
narrow (condition number 1.1) or wide (8); between blocks they differ by as much as the condition
number of the whole wants. What is finished is not run again. `--small` takes seconds: to see that
it runs, not what it says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from blockwise.figures.style import save_figure
from blockwise.files.hdf5_file import RunFileError

from . import REPOSITORY
from .program import ProgramError
from .quadratic_figure import quadratic_figure
from .quadratic_sweeps import run_sweeps
from .quadratic_tables import quadratic_table

__all__ = ["main", "quadratic_figure", "quadratic_table", "run_sweeps"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a sweep failed or there is none."""
    options = _parser().parse_args(arguments)
    folder: Path = options.output or options.folder
    try:
        if options.run:
            run_sweeps(folder, options.small)
            save_figure(quadratic_figure(folder), folder / "quadratics.png")
        table = quadratic_table(folder)
    except (ProgramError, RunFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.quadratics",
        description="Runs the study of quadratics, or prints the table of one that was run.",
    )
    folder = REPOSITORY / "runs" / "quadratics"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the sweeps")
    parser.add_argument("--output", type=Path, help="the same, for --run")
    parser.add_argument("--run", action="store_true", help="run the sweeps first; draw the figure")
    parser.add_argument("--small", action="store_true", help="in seconds, to see that they run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
