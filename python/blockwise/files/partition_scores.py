"""What `blockwise partition` measured of every candidate structure, in scores.csv."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from .csv_file import read_csv, require_numbers
from .hdf5_file import RunFileError

COLUMNS = (
    "tensor", "role", "layer", "section", "candidate", "rows", "columns", "values", "chosen",
    "adam_mini", "lift", "lift_error", "share", "chance", "inside", "inside_error",
    "diagonal_inside", "diagonal_inside_error", "spread", "signal_to_noise", "condition", "loss",
    "loss_error",
)  # fmt: skip
_TEXTS = ("tensor", "role", "candidate")


def read_scores(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """A row per section of a matrix and candidate structure, in the file's order.

    tensor; role; layer (-1: none); section (of the tensor); candidate; rows, columns (of the
    section); values (of the second moment); chosen, adam_mini (1: this candidate is what the
    search, or the rule adam_mini, takes); lift (share of the Hessian's energy inside blocks above
    that of random blocks) from share and chance; inside, diagonal_inside (share of the variance of
    log v and of log |diagonal of the Hessian| that is left inside blocks); spread (standard
    deviation of log v inside blocks, nats, noise left out); signal_to_noise (mean^2 / variance of v
    inside blocks); condition (number of the damped blocks); loss (of the objective, lower is
    better). `_error`: standard errors. NaN: not measured, or not finite. Raises RunFileError.
    """
    path = Path(folder) / "scores.csv"
    scores = read_csv(path, keep_default_na=False, na_values=[""])
    missing = [name for name in COLUMNS if name not in scores]
    if missing:
        raise RunFileError(f"{path}: no column {', '.join(missing)}")
    scores = scores[list(COLUMNS)]
    require_numbers(path, scores, _TEXTS)
    return scores
