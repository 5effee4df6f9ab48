"""Leave-x-out: some sections at one searched rate without a second moment, the rest AdamW.

    table = read_left_out("runs/leave-x-out")    # the folder of `blockwise search-lr`
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from blockwise.files.csv_file import read_csv, require_numbers
from blockwise.files.hdf5_file import RunFileError

COLUMNS = (
    "left_out", "sections", "rate", "low", "high", "mean_v", "curvature", "difference",
    "half_width", "p_value", "at_end",
)  # fmt: skip
_RATES = ["rate", "low", "high", "mean_v", "curvature"]


def read_left_out(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The rates.csv of `blockwise search-lr --method leave_out`: a row per number left out.

    left_out (number of sections); sections (TENSOR:ROLE, blanks between); rate, low, high (the
    searched learning rate: where a parabola through the losses of the best grid point and its
    neighbours is lowest, geometric mean over seeds with its 95 % interval); mean_v,
    curvature (rates that Adam-mini's second moment and 2 / (lambda_max + lambda_min) imply there,
    geometric means over the sections); difference, half_width (final loss less AdamW's of the same
    seed, nats per token, 95 % t interval); p_value (two-sided, paired); at_end (the best rate is an
    end of the grid, and a better one may lie beyond). NaN: not measured, or a single seed. Raises
    RunFileError where there is no such file, or another method wrote it.
    """
    path = Path(folder) / "rates.csv"
    table = read_csv(path)
    if list(table.columns) != list(COLUMNS):
        raise RunFileError(f"{path}: not of `blockwise search-lr --method leave_out`")
    require_numbers(path, table, ("sections",))
    # The program writes 0 for a rate that was not measured.
    table[_RATES] = table[_RATES].where(table[_RATES] > 0)
    return table.astype({"at_end": bool})
