"""How wide a range of learning rates every group of a sweep bears, and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from blockwise.analysis.sweep_tables import by_rank, configurations
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import LEARNING_RATE, Override, Sweep
from blockwise.statistics.intervals import mean_interval

TOLERANCE = 0.05
"""Nats per token above a group's lowest loss that its stability band allows."""


def stability_table(
    sweep: Sweep, tolerance: float = TOLERANCE, unusable: float | None = None
) -> pd.DataFrame:
    """A row per group, and per value of what else the sweep varies (a column each, in front).

    group; best_rate: learning rate with the lowest mean final validation loss; rates with which a
        seed diverged come after all others, as in `best_configurations`;
    seeds, loss, half_width: finished there, their mean and 95 % t interval (nats per token);
    difference, difference_half_width: the same, less the loss of the baseline's best rate of the
        same seed; NaN for the baseline;
    band_low, band_high: ends of the run of grid rates around the best whose mean loss is at most
        `tolerance` above the group's best and with which no seed diverged; octaves =
        log2(band_high / band_low); at_end: the band ends where the grid does, and may be wider;
    diverged_rate: the lowest rate with which a seed diverged;
    unusable_rate: the lowest above the best with a mean loss above `unusable` (nats per token), or
        with a seed that diverged; a column only where `unusable` is given;
    values (of the second moment), optimizer_bytes.
    NaN: no such rate, or no run finished, or fewer than two seeds for an interval. The best of
    several rates is chosen on the seeds it is then judged by, so its loss is a little flattered.
    Raises RunFileError for a sweep that does not set the learning rate.
    """
    rows = []
    for setting, table in settings(sweep):
        base = _best(table[table["group"] == sweep.baseline])
        for group in sweep.groups:
            grid = table[table["group"] == group].sort_values(LEARNING_RATE, ignore_index=True)
            if grid.empty:
                continue
            row = setting | {"group": group} | _best_columns(sweep, grid)
            row |= _difference(sweep, grid, None if group == sweep.baseline else base)
            row |= _band(grid, tolerance) | _limits(grid, unusable) | _memory(sweep, grid)
            rows.append(row)
    return pd.DataFrame(rows)


def settings(sweep: Sweep) -> Iterator[tuple[dict[str, Override], pd.DataFrame]]:
    """What is varied within groups beside the learning rate, and the `configurations` of each."""
    table = configurations(sweep)
    if LEARNING_RATE not in table or table[LEARNING_RATE].isna().any():
        raise RunFileError(f"{sweep.folder}: not every member has an {LEARNING_RATE}")
    overrides = table.columns[1 : table.columns.get_loc("runs")].drop(LEARNING_RATE)
    counts = table.groupby("group")[list(overrides)].nunique(dropna=False).max()
    varied = [name for name in overrides if counts[name] > 1]
    if not varied:
        yield {}, table
        return
    if table[varied].isna().any(axis=None):
        raise RunFileError(
            f"{sweep.folder}: not every group sweeps {', '.join(varied)}; `blockwise report` compares such groups"
        )
    for values, rows in table.groupby(varied):
        yield dict(zip(varied, values, strict=True)), rows


def _best(grid: pd.DataFrame) -> pd.Series | None:
    finished = by_rank(grid[grid["finished"] > 0])
    return None if finished.empty else finished.iloc[0]


def _best_columns(sweep: Sweep, grid: pd.DataFrame) -> dict[str, float]:
    best = _best(grid)
    if best is None:
        return {"best_rate": np.nan, "seeds": 0, "loss": np.nan, "half_width": np.nan}
    return {
        "best_rate": best[LEARNING_RATE],
        "seeds": best["finished"],
        "loss": best["mean"],
        "half_width": best["high"] - best["mean"],
    }


def _difference(sweep: Sweep, grid: pd.DataFrame, base: pd.Series | None) -> dict[str, float]:
    best = _best(grid)
    pairs = pd.Series(dtype=float)
    if best is not None and base is not None:
        pairs = _by_seed(sweep, best["ids"]) - _by_seed(sweep, base["ids"])
    interval = mean_interval(pairs.tolist())
    return {"difference": interval.mean, "difference_half_width": interval.half_width}


def _by_seed(sweep: Sweep, ids: Sequence[str]) -> pd.Series:
    losses = {member.seed: sweep.final_loss(member) for member in sweep.members if member.id in ids}
    return pd.Series(losses, dtype=float)


def _band(grid: pd.DataFrame, tolerance: float) -> dict[str, float | bool]:
    best = _best(grid)
    if best is None or best["diverged"] > 0:
        return {"band_low": np.nan, "band_high": np.nan, "octaves": np.nan, "at_end": False}
    good = (grid["diverged"] == 0) & (grid["mean"] <= best["mean"] + tolerance)
    # Rates that are not good count up, so that a run of good ones has one number.
    run = (~good).cumsum()
    rates = grid.loc[good & (run == run[best.name]), LEARNING_RATE]
    low, high = rates.iloc[0], rates.iloc[-1]
    at_end = low == grid[LEARNING_RATE].min() or high == grid[LEARNING_RATE].max()
    return {"band_low": low, "band_high": high, "octaves": np.log2(high / low), "at_end": at_end}


def _limits(grid: pd.DataFrame, unusable: float | None) -> dict[str, float]:
    rates, diverged = grid[LEARNING_RATE], grid["diverged"] > 0
    limits = {"diverged_rate": rates[diverged].min()}
    if unusable is not None:
        best = _best(grid)
        above = rates > (best[LEARNING_RATE] if best is not None else 0)
        limits["unusable_rate"] = rates[above & (diverged | (grid["mean"] > unusable))].min()
    return limits


def _memory(sweep: Sweep, grid: pd.DataFrame) -> dict[str, float]:
    """Of the first run that finished."""
    ids = [one for of_rate in grid["ids"] for one in of_rate]
    if not ids:
        return {"values": np.nan, "optimizer_bytes": np.nan}
    run = sweep.runs[ids[0]]
    return {
        "values": int(run.partition["state_elements"].sum()),
        "optimizer_bytes": run.memory.get("optimizer_state", np.nan),
    }
