"""How far every optimizer of the study `quadratics` comes, at its best learning rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Member, Sweep, read_sweep
from blockwise.statistics.intervals import mean_interval

SMALLEST_LOSS = float(np.finfo(np.float32).tiny)
"""Losses below the smallest normal float32, also 0, count as this: a fast optimizer gets there."""


def quadratic_table(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """A row per condition, block condition and group, from the sweeps in the folder's folders.

    condition: condition number of the whole; block_condition: that of every block; group;
    learning_rate: the grid's rate with the lowest geometric mean over problems of the final loss;
        a rate with which a problem diverged or has not finished comes after those without;
    at_end: whether that is the lowest or the highest of the grid, so that it may not be the best;
    problems: with a finite final loss at this rate; failed: without one;
    mean, low, high: log10(final loss / initial loss), the mean over problems with its 95 % t
        interval (NaN with fewer than two). Lower is better, -1 is a tenth of the loss.
    """
    rows = [
        {"condition": condition, "block_condition": block_condition, "group": group}
        | best_rate(losses[losses["group"] == group])
        for condition, block_condition, sweep in quadratic_sweeps(folder)
        for losses in [log_losses(sweep)]
        for group in sweep.groups
    ]
    return pd.DataFrame(rows)


def quadratic_sweeps(folder: str | os.PathLike[str]) -> Iterator[tuple[float, float, Sweep]]:
    """Condition number, that of the blocks, and the sweep of every folder CONDITION-BLOCKCONDITION.

    In the order of the numbers. Raises RunFileError where there is none.
    """
    found = {}
    for manifest in Path(folder).glob("*/manifest.json"):
        numbers = manifest.parent.name.split("-")
        try:
            condition, block_condition = map(float, numbers)
        except ValueError:  # another folder
            continue
        found[condition, block_condition] = manifest.parent
    if not found:
        raise RunFileError(
            f"{folder}: no sweeps in folders like 1000-8. `python -m studies.quadratics --run` "
            "runs them"
        )
    for (condition, block_condition), path in sorted(found.items()):
        yield condition, block_condition, read_sweep(path)


def log_losses(sweep: Sweep) -> pd.DataFrame:
    """A row per member: group; learning_rate (NaN where none is set); log_loss: log10(final loss /
    initial loss), NaN where the run diverged or has not finished."""
    rows = [(one.group, one.learning_rate, _log_loss(sweep, one)) for one in sweep.members]
    return pd.DataFrame(rows, columns=["group", "learning_rate", "log_loss"])


def _log_loss(sweep: Sweep, member: Member) -> float:
    final = sweep.final_loss(member)
    if not np.isfinite(final):
        return np.nan
    # A step's loss is that before its update.
    initial = sweep.runs[member.id].steps["loss"].iloc[0]
    return float(np.log10(max(final, SMALLEST_LOSS) / initial))


def best_rate(losses: pd.DataFrame) -> dict[str, object]:
    """The best learning rate in the `log_losses` of one group, as in `quadratic_table`."""
    by_rate = losses.groupby("learning_rate", dropna=False)["log_loss"]
    rates = pd.DataFrame({"failed": by_rate.size() - by_rate.count(), "mean": by_rate.mean()})
    rate = rates.sort_values(["failed", "mean"], kind="stable").index[0]
    values = by_rate.get_group(rate)
    interval = mean_interval(values.tolist())
    grid = losses["learning_rate"]
    return {
        "learning_rate": rate if interval.count else np.nan,
        "at_end": grid.nunique() > 1 and bool(interval.count) and rate in (grid.min(), grid.max()),
        "problems": interval.count,
        "failed": len(values) - interval.count,
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
    }
