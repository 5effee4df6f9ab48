"""What the runs of a sweep come to: their status, their losses, and the best configurations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..files.run import Run
from ..files.sweep import Member, Sweep
from ..statistics.intervals import mean_interval


def _override_names(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(name for member in sweep.members for name in member.overrides))


def run_status(sweep: Sweep) -> pd.DataFrame:
    """A row per member and confirmation.

    id; group; seed; confirmed (whether it is a confirmation); status; last_step; message (why it is
    not finished).
    """
    rows = []
    for member in sweep.all_members:
        run = sweep.runs.get(member.id)
        rows.append(
            {
                "id": member.id,
                "group": member.group,
                "seed": member.seed,
                "confirmed": member.confirmed,
                "status": sweep.status(member),
                "last_step": run.last_step if run else 0,
                "message": run.message if run else sweep.unreadable.get(member.id, ""),
            }
        )
    columns = ["id", "group", "seed", "confirmed", "status", "last_step", "message"]
    return pd.DataFrame(rows, columns=columns)


def status_counts(sweep: Sweep) -> pd.DataFrame:
    """A row per group, a column per status that occurs, and `runs`: numbers of members.

    With confirmations; `confirmations` says how many of the runs they are, where there are some.
    """
    table = run_status(sweep)
    counts = pd.crosstab(table["group"], table["status"]).reindex(sweep.groups)
    counts.columns.name = None
    counts = counts.assign(runs=counts.sum(axis=1))
    if not table["confirmed"].any():
        return counts
    of_group = table.groupby("group")["confirmed"].sum()
    return counts.assign(confirmations=of_group.reindex(counts.index))


def final_losses(sweep: Sweep) -> pd.DataFrame:
    """A row per member of the sweep, in the manifest's order, also for runs that do not exist yet.

    Confirmations come last. id; group; seed; confirmed (whether it is one); a column per override, under its full name (`optimizer.learning_rate`);
    final_loss (last validation loss, nats per token; NaN unless the run finished); best_loss
    (lowest validation loss so far); status; optimizer_bytes; peak_allocated (bytes);
    seconds_per_step (median).
    """
    names = _override_names(sweep)
    rows = []
    for member in sweep.all_members:
        row: dict[str, object] = {"id": member.id, "group": member.group, "seed": member.seed}
        row["confirmed"] = member.confirmed
        row |= {name: member.overrides.get(name) for name in names}
        row |= {"final_loss": sweep.final_loss(member), "status": sweep.status(member)}
        row |= _recorded(sweep.runs.get(member.id))
        rows.append(row)
    outcome = ["final_loss", "best_loss", "status"]
    cost = ["optimizer_bytes", "peak_allocated", "seconds_per_step"]
    return pd.DataFrame(rows, columns=["id", "group", "seed", "confirmed", *names, *outcome, *cost])


def _recorded(run: Run | None) -> dict[str, float]:
    if run is None:
        return {}
    measured = run.memory.get("peak_allocated", 0)
    return {
        "best_loss": float(run.evaluations["loss"].min()),
        "optimizer_bytes": float(run.memory.get("optimizer_state", np.nan)),
        "peak_allocated": float(measured) if measured else np.nan,
        "seconds_per_step": float(run.steps["seconds"].median()),
    }


def configurations(sweep: Sweep) -> pd.DataFrame:
    """A row per configuration: the members that differ only in the seed, without confirmations.

    group; a column per override; runs, finished, diverged (numbers of members; a run that finished
    with a loss that is not finite counts as diverged); mean, low, high (final validation loss over
    the finished seeds with its 95 % t interval, nats per token; low and high are NaN with fewer
    than two); ids (the finished members).
    """
    return _outcomes(sweep, _by_configuration(sweep.members))


def _outcomes(sweep: Sweep, table: dict[object, list[Member]]) -> pd.DataFrame:
    names = _override_names(sweep)
    rows = []
    for members in table.values():
        finished = [member for member in members if np.isfinite(sweep.final_loss(member))]
        interval = mean_interval([sweep.final_loss(member) for member in finished])
        row: dict[str, object] = {"group": members[0].group}
        row |= {name: members[0].overrides.get(name) for name in names}
        row |= {
            "runs": len(members),
            "finished": len(finished),
            "diverged": sum(sweep.diverged(member) for member in members),
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "ids": tuple(member.id for member in finished),
        }
        rows.append(row)
    return pd.DataFrame(
        rows,
        columns=["group", *names, "runs", "finished", "diverged", "mean", "low", "high", "ids"],
    )


def best_configurations(sweep: Sweep) -> pd.DataFrame:
    """The first row of `by_rank` for every group; groups without a finished run have none."""
    table = configurations(sweep)
    best = by_rank(table[table["finished"] > 0]).drop_duplicates("group")
    return _in_group_order(sweep, best)


def _in_group_order(sweep: Sweep, table: pd.DataFrame) -> pd.DataFrame:
    """Of a table with one row per group."""
    table = table.set_index("group", drop=False)
    groups = [group for group in sweep.groups if group in table.index]
    return table.loc[groups].reset_index(drop=True)


def confirmed_configurations(sweep: Sweep) -> pd.DataFrame:
    """The confirmations of `best_configurations`, with the columns of `configurations`.

    A row per group that has some, as in the first table of `blockwise report`. Those of a
    configuration that is no longer its group's best are in no row.
    """
    best = {member.configuration for member in _best_members(sweep)}
    ours = [member for member in sweep.confirmations if member.configuration in best]
    return _in_group_order(sweep, _outcomes(sweep, _by_configuration(ours)))


def _best_members(sweep: Sweep) -> list[Member]:
    """One member of each best configuration."""
    firsts = {ids[0] for ids in best_configurations(sweep)["ids"]}
    return [member for member in sweep.members if member.id in firsts]


def judged_configurations(sweep: Sweep) -> pd.DataFrame:
    """What to compare the groups by: `best_configurations` on the seeds that judge.

    These are the confirmations of a group where one of them finished, which `confirmed` says, and
    otherwise the seeds that also chose it: among many configurations, those look better than they
    are.
    """
    confirmed = confirmed_configurations(sweep)
    confirmed = confirmed[confirmed["finished"] > 0].assign(confirmed=True)
    chosen = best_configurations(sweep).assign(confirmed=False)
    chosen = chosen[~chosen["group"].isin(confirmed["group"])]
    if confirmed.empty or chosen.empty:
        return chosen if confirmed.empty else confirmed
    return _in_group_order(sweep, pd.concat([confirmed, chosen]))


def by_rank(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `configurations`, best first, in the order of `blockwise report`.

    By mean final validation loss; but a configuration with a diverged seed comes after all without,
    so that one lucky seed does not win.
    """
    diverged = (table["diverged"] > 0).rename("any")
    order = pd.concat([diverged, table["mean"]], axis=1).sort_values(["any", "mean"], kind="stable")
    return table.loc[order.index]


def _by_configuration(members: Sequence[Member]) -> dict[object, list[Member]]:
    table: dict[object, list[Member]] = {}
    for member in members:
        table.setdefault(member.configuration, []).append(member)
    return table


def loss_curves(sweep: Sweep) -> pd.DataFrame:
    """All validation-loss curves in long form, a row per evaluation of every run that exists.

    id; group; seed; confirmed (whether the seed chose nothing); learning_rate (peak, NaN where the sweep does not set it); step; tokens (seen
    in training); loss (nats per token).
    """
    columns = ["id", "group", "seed", "confirmed", "learning_rate", "step", "tokens", "loss"]
    curves = [
        sweep.runs[member.id]
        .evaluations[["step", "tokens", "loss"]]
        .assign(
            id=member.id,
            group=member.group,
            seed=member.seed,
            confirmed=member.confirmed,
            learning_rate=member.learning_rate,
        )[columns]
        for member in sweep.all_members
        if member.id in sweep.runs
    ]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def loss_band(runs: Sequence[Run]) -> pd.DataFrame:
    """Validation loss over seeds, at the steps that all of the runs have.

    step; tokens; seeds (number of runs); mean, low, high (nats per token; 95 % t interval, NaN for
    a single run).
    """
    curves = [_by_step(run, "loss") for run in runs]
    tokens = _by_step(runs[0], "tokens") if runs else {}
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    rows = []
    for step in steps:
        interval = mean_interval([curve[step] for curve in curves])
        rows.append(
            {
                "step": step,
                "tokens": int(tokens[step]),
                "seeds": interval.count,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows, columns=["step", "tokens", "seeds", "mean", "low", "high"])


def _by_step(run: Run, column: str) -> dict[int, float]:
    steps, values = run.evaluations["step"].tolist(), run.evaluations[column].tolist()
    return dict(zip(steps, values, strict=True))
