"""Factors of the learning rate by role: of papers, and of a search by training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from blockwise.files.csv_file import read_csv, require_numbers
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import Run

from ..ranks import rank_correlation
from .checkpoints import STATE, checkpoint, tensors_under

BLOCKWISE_LR = {
    "token_embedding": 10.0, "lm_head": 10.0, "query": 8.0, "key": 8.0, "mlp_gate": 6.0,
    "mlp_in": 6.0, "mlp_out": 6.0, "value": 4.0, "attention_output": 4.0, "norm": 1.0,
}  # fmt: skip
"""Of `optimizer.rates.method: blockwise_lr`."""
COLUMNS = (
    "group", "factor", "best", "low", "high", "difference", "half_width", "p_value", "taken",
)  # fmt: skip


def read_searched(folder: Path) -> pd.DataFrame:
    """The rates.csv of `blockwise search-lr --method coordinate`: a row per group of sections.

    group; factor (that was taken: 1 unless the interval of the gain excludes 0); best, low, high
    (where the loss was lowest, with the 95 % interval over seeds); difference, half_width, p_value
    (loss of the best point less that of factor 1, paired by seed); taken. NaN: the search ended
    before. Raises RunFileError.
    """
    path = folder / "rates.csv"
    table = read_csv(path)
    if list(table.columns) != list(COLUMNS):
        raise RunFileError(f"{path}: not of `blockwise search-lr --method coordinate`")
    require_numbers(path, table, ("group",))
    measured = ["best", "low", "high", "difference"]
    table[measured] = table[measured].where(table["half_width"].notna())
    return table.astype({"taken": bool})


def spectral_factors(run: Run, folder: Path) -> dict[str, float]:
    """LLR's factors at the end of a run, mean over the sections of a role."""
    factors = tensors_under(checkpoint(folder, run.last_step) / STATE, "rate_factors")
    by_role: dict[str, list[float]] = {}
    for tensor, sections in run.partition.groupby("tensor", sort=False):
        for role, ends in zip(sections["role"], factors[str(tensor)], strict=True):
            by_role.setdefault(role, []).append(float(ends[1]))
    return {role: float(np.mean(values)) for role, values in by_role.items()}


def factor_table(
    searched: Mapping[str, pd.DataFrame], spectral: Mapping[str, float]
) -> pd.DataFrame:
    """A row per role: blockwise_lr; llr; and of every search NAME its best factor, NAME_low,
    NAME_high, NAME_taken."""
    table = pd.DataFrame({"role": list(BLOCKWISE_LR), "blockwise_lr": list(BLOCKWISE_LR.values())})
    table["llr"] = table["role"].map(dict(spectral))
    for name, found in searched.items():
        of_role = found.set_index("group").reindex(table["role"])
        table[name] = of_role["best"].to_numpy()
        for column in ("low", "high", "taken"):
            table[f"{name}_{column}"] = of_role[column].to_numpy()
    return table


def factor_correlation(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Spearman's rank correlation over roles between columns of `factor_table`, a row per pair."""
    rows = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            pair = table[[first, second]].to_numpy(dtype=float).T
            rows.append(
                {
                    "a": first,
                    "b": second,
                    "correlation": float(rank_correlation(pair[:1], pair[1:])[0]),
                }
            )
    return pd.DataFrame(rows, columns=["a", "b", "correlation"])
