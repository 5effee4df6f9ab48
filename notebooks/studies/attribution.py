"""The study of roles: in which of them lies the gap between Adam-mini and AdamW?

    blockwise sweep configs/studies/attribution.yaml --jobs 2
    python -m studies.attribution runs/attribution
    python -m studies.attribution runs/attribution --scores 32=FOLDER 64=FOLDER

Prints what refining and coarsening each role does to the final loss, and, where `blockwise
partition` has measured the criteria of that model (in folders scores-WIDTH of the sweep's folder,
or those of --scores, by the model's width), how well they predict the gain from refining.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import read_sweep

from . import REPOSITORY
from .attribution_figure import attribution_figure
from .attribution_tables import attribution_table, role_differences
from .criteria import criteria_by_size, criteria_table, find_scores
from .gain_prediction import criteria_correlation

__all__ = [
    "attribution_figure",
    "attribution_table",
    "criteria_by_size",
    "criteria_correlation",
    "criteria_table",
    "find_scores",
    "main",
    "role_differences",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a file cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        sweep = read_sweep(options.folder)
        _print("differences to the baseline, nats per token", attribution_table(sweep))
        folders = dict(options.scores) if options.scores else find_scores(options.folder)
        if folders:
            criteria = criteria_by_size(folders)
            _print("criteria of the structures that adam_mini takes", criteria)
            correlation = criteria_correlation(sweep, criteria)
            _print("rank correlation with the gain from refining", correlation)
    except RunFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print(title: str, table: pd.DataFrame) -> None:
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        text = table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
    print(f"{title}\n{text}\n", flush=True)


def _scores(text: str) -> tuple[int, Path]:
    width, equals, folder = text.partition("=")
    if not (equals and folder and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTH=FOLDER, such as 32=scores-32")
    return int(width), Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.attribution",
        description="Prints in which roles the gap between two partitions lies.",
    )
    folder = REPOSITORY / "runs" / "attribution"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the sweep")
    parser.add_argument(
        "--scores", type=_scores, nargs="+", metavar="WIDTH=FOLDER",
        help="folders with the scores.csv of `blockwise partition`, by the model's width",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
