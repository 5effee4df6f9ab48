"""Losses of a sweep's groups on the seeds that chose nothing, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from blockwise.analysis.sweep_tables import confirmed_configurations
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import LEARNING_RATE, Sweep
from blockwise.statistics.intervals import mean_interval


def confirmed_losses(sweep: Sweep) -> dict[str, pd.Series]:
    """Final validation losses of a group's confirmed runs by seed, nats per token, by group."""
    table = confirmed_configurations(sweep)
    members = {member.id: member for member in sweep.confirmations}
    losses = {}
    for row in table.to_dict("records"):
        chosen = [members[name] for name in row["ids"]]
        by_seed = {member.seed: sweep.final_loss(member) for member in chosen}
        losses[row["group"]] = pd.Series(by_seed, dtype=float).sort_index()
    return losses


def loss_table(sweep: Sweep) -> pd.DataFrame:
    """A row per group, the lowest loss first.

    group; rate (that was chosen); at_end (whether it is an end of the group's grid); seeds, loss,
    half_width (confirmed runs, their mean and 95 % t interval, nats per token); difference,
    difference_half_width (less the baseline's of the same seed; NaN for the baseline);
    optimizer_bytes.
    """
    losses = confirmed_losses(sweep)
    rates = chosen_rates(sweep)
    rows = []
    for group, loss in losses.items():
        interval = mean_interval(loss.tolist())
        row = {"group": group} | rates[group]
        row |= {"seeds": interval.count, "loss": interval.mean, "half_width": interval.half_width}
        row |= difference(losses, group, sweep.baseline)
        rows.append(row | {"optimizer_bytes": _optimizer_bytes(sweep, group)})
    if not rows:
        raise RunFileError(f"{sweep.folder}: no confirmed runs yet: run the sweep again, it goes on")
    return pd.DataFrame(rows).sort_values("loss", ignore_index=True)


def chosen_rates(sweep: Sweep) -> dict[str, dict[str, float | bool]]:
    """rate and at_end, as in `loss_table`, by group."""
    grids: dict[str, set[float]] = {}
    for member in sweep.members:
        grids.setdefault(member.group, set()).add(member.learning_rate)
    table = confirmed_configurations(sweep)
    rates = {}
    for group, rate in zip(table["group"], table[LEARNING_RATE], strict=True):
        ends = {min(grids[group]), max(grids[group])}
        rates[group] = {"rate": float(rate), "at_end": float(rate) in ends}
    return rates


def difference(losses: dict[str, pd.Series], group: str, base: str) -> dict[str, float]:
    """The group's loss less the base's of the same seed: mean and 95 % t half width."""
    pairs = (losses[group] - losses[base]).dropna() if group != base else pd.Series(dtype=float)
    interval = mean_interval(pairs.tolist())
    return {"difference": interval.mean, "difference_half_width": interval.half_width}


def difference_table(sweep: Sweep, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """A row per pair of groups that were both confirmed: group; less (the other); difference,
    difference_half_width."""
    losses = confirmed_losses(sweep)
    rows = [
        {"group": group, "less": base} | difference(losses, group, base)
        for group, base in pairs
        if group in losses and base in losses
    ]
    return pd.DataFrame(rows, columns=["group", "less", "difference", "difference_half_width"])


def _optimizer_bytes(sweep: Sweep, group: str) -> float:
    runs = [
        sweep.runs[one.id]
        for one in sweep.confirmations
        if one.group == group and one.id in sweep.runs
    ]
    return float(runs[0].memory.get("optimizer_state", float("nan"))) if runs else float("nan")
