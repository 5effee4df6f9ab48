"""One row per optimizer: its loss, its band of rates, its memory, its time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import Run
from blockwise.files.sweep import Sweep
from blockwise.statistics.intervals import mean_interval

from ..stability import stability_table
from .comparisons import holm_adjusted, paired_test
from .families import family_of
from .judged import Judged, judged_groups
from .target_loss import Effort, Target, crossing, end, mean_course, passing, target_of

MARGIN = 0.1
"""Nats per token above a group's lowest loss that its stability band allows."""


def study_table(sweep: Sweep, margin: float = MARGIN) -> pd.DataFrame:
    """A row per group with a finished run, the lowest loss first; those with a diverged seed last.

    group; family; learning_rate (with the lowest mean loss on the seeds that choose); rate_at_end
        (it is the grid's lowest or highest, so that a better one may lie beyond); tried (number of
        configurations, with those that left the sweep's file after they ran);
    confirmed (whether the seeds below chose nothing); seeds, diverged (numbers of runs); loss,
        half_width (mean final validation loss of those that finished, 95 % t interval, nats per
        token); difference, difference_half_width, p_value, holm (to the baseline's loss of the same
        seed; two-sided paired t-test, corrected over all groups of the table);
    band_low, band_high, octaves, band_at_end: the rates around the best one with a mean loss at
        most `margin` above its loss, as in `stability_table`, on the seeds that choose;
    parameters; state_bytes, lasting_bytes (optimizer; with parameters and gradients); peak_bytes
        (highest of the runs); step_seconds (mean over runs of the median); energy_joules (mean over
        runs; NaN where a counter could not be read);
    pass_steps, pass_seconds (`passing`; the baseline's own are those of its end, by definition);
        mean_steps, mean_seconds (`crossing` of the mean over seeds). NaN: never.
    """
    judged = judged_groups(sweep)
    if sweep.baseline not in judged:
        raise RunFileError(f"{sweep.folder}: the baseline {sweep.baseline} has no finished run")
    bands = stability_table(sweep, margin).set_index("group")
    target = target_loss(judged[sweep.baseline])
    rows = []
    for group, one in judged.items():
        row: dict[str, object] = {"group": group, "family": family_of(one.members[0].overrides)}
        row |= _choice(sweep, one) | _losses(one) | _difference(one, judged[sweep.baseline])
        row |= _band(bands.loc[group]) | _costs(one)
        rows.append(row | _efforts(one, target, group == sweep.baseline))
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p_value") + 1, "holm", holm_adjusted(table["p_value"]))
    ranks = table.assign(any=table["diverged"] > 0).sort_values(["any", "loss"], kind="stable")
    return table.loc[ranks.index].reset_index(drop=True)


def target_loss(baseline: Judged) -> Target:
    """The final loss that the groups are to come down to."""
    return target_of(list(baseline.losses.values()))


def _choice(sweep: Sweep, one: Judged) -> dict[str, object]:
    members = [member for member in sweep.members if member.group == one.group]
    grid = {member.learning_rate for member in members}
    dropped = [member for member in sweep.left_out if member.group == one.group]
    ran = [member for member in dropped if member.run.exists()]
    return {
        "learning_rate": one.learning_rate,
        "rate_at_end": one.learning_rate in (min(grid), max(grid)),
        "tried": len({member.configuration for member in [*members, *ran]}),
    }


def _losses(one: Judged) -> dict[str, object]:
    interval = mean_interval(list(one.losses.values()))
    return {
        "confirmed": one.confirmed,
        "seeds": len(one.runs),
        "diverged": one.diverged,
        "loss": interval.mean,
        "half_width": interval.half_width,
    }


def _difference(one: Judged, baseline: Judged) -> dict[str, float]:
    own = {} if one is baseline else one.losses
    test = paired_test(own, baseline.losses)
    return {
        "difference": test.difference.mean,
        "difference_half_width": test.difference.half_width,
        "p_value": test.p_value,
    }


def _band(row: pd.Series) -> dict[str, object]:
    ends = {name: row[name] for name in ("band_low", "band_high", "octaves")}
    return ends | {"band_at_end": bool(row["at_end"])}


def _costs(one: Judged) -> dict[str, float]:
    last = one.runs[-1]
    state = last.memory.get("optimizer_state", np.nan)
    energies = [run.energy_joules for run in one.runs if run.energy_joules > 0]
    return {
        "parameters": parameter_count(last),
        "state_bytes": state,
        "lasting_bytes": state + last.memory["parameters"] + last.memory["gradients"],
        "peak_bytes": max(run.memory.get("peak_allocated", 0) for run in one.runs) or np.nan,
        "step_seconds": float(np.mean([run.steps["seconds"].median() for run in one.runs])),
        "energy_joules": float(np.mean(energies)) if energies else np.nan,
    }


def parameter_count(run: Run) -> int:
    """Of the model: its sections have every parameter once."""
    return int((run.partition["rows"] * run.partition["columns"]).sum())


def _efforts(one: Judged, target: Target, is_baseline: bool) -> dict[str, float]:
    course = mean_course(one.runs)
    mean: Effort = crossing(course, target.loss)
    passed = end(course) if is_baseline else passing(course, len(one.runs), target)
    return {
        "pass_steps": passed.steps,
        "pass_seconds": passed.seconds,
        "mean_steps": mean.steps,
        "mean_seconds": mean.seconds,
    }
