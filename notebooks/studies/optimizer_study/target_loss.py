"""When the mean over a group's seeds has come down to the final loss of the baseline.

    passed: the first evaluation at which  (target - mean) sqrt(n) >= 3.09 s

with the mean over all n seeds of the group, target the mean of the baseline's final losses and s
their standard deviation over its seeds. It is the rule of the third track of modded-nanogpt, whose
target is 3.28 and whose 3.09 s is 0.004: where s is known, a group that is only as good as the
target passes at a given evaluation with probability 0.001. Here both target and s are estimated,
which the rule does not count. A run that diverged counts as infinite from there on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from blockwise.files.run import Run

DEVIATIONS = 3.09
"""Of a normal distribution, above which lies 0.001 of it."""


@dataclass(frozen=True)
class Target:
    """The baseline's final loss: mean and standard deviation over its seeds, nats per token."""

    loss: float
    deviation: float
    seeds: int

    @property
    def margin(self) -> float:
        """What (target - mean) sqrt(n) has to be at least."""
        return DEVIATIONS * self.deviation


@dataclass(frozen=True)
class Effort:
    """Optimizer steps, and seconds of these steps alone; NaN where it never gets there."""

    steps: float = math.nan
    seconds: float = math.nan


def target_of(final_losses: Sequence[float]) -> Target:
    """Of the baseline's final losses; the deviation of fewer than two is NaN."""
    count = len(final_losses)
    deviation = float(np.std(final_losses, ddof=1)) if count > 1 else math.nan
    return Target(float(np.mean(final_losses)) if count else math.nan, deviation, count)


def mean_course(runs: Sequence[Run]) -> pd.DataFrame:
    """Mean validation loss over runs, a row per step that all finished ones evaluated.

    step; loss (infinite where one had diverged before); seconds (mean, of the steps alone).
    """
    courses = [_course(run) for run in runs]
    whole = [course for course, run in zip(courses, runs, strict=True) if run.status == "finished"]
    steps = sorted(set.intersection(*(set(course.index) for course in whole))) if whole else []
    if not steps:
        return pd.DataFrame(columns=["step", "loss", "seconds"])
    rows = pd.concat([course.reindex(steps).fillna({"loss": np.inf}) for course in courses])
    return rows.groupby(level=0).mean().rename_axis("step").reset_index()


def _course(run: Run) -> pd.DataFrame:
    spent = run.steps["seconds"].cumsum().to_numpy()
    done = np.searchsorted(run.steps["step"].to_numpy(), run.evaluations["step"], side="right")
    seconds = np.concatenate([[0.0], spent])[done]
    return pd.DataFrame(
        {"loss": run.evaluations["loss"].to_numpy(), "seconds": seconds},
        index=run.evaluations["step"].to_numpy(),
    )


def passing(course: pd.DataFrame, seeds: int, target: Target) -> Effort:
    """The first row of a `mean_course` of so many seeds that passes the rule above."""
    below = (target.loss - course["loss"]) * math.sqrt(seeds)
    passed = course[below >= target.margin]
    return Effort() if passed.empty else _effort(passed.iloc[0])


def crossing(course: pd.DataFrame, loss: float) -> Effort:
    """Where a `mean_course` first comes down to a loss, linear between evaluations. No test."""
    reached = np.flatnonzero(course["loss"] <= loss)
    if not len(reached):
        return Effort()
    after = course.iloc[reached[0]]
    before = course.iloc[max(reached[0] - 1, 0)]
    if not np.isfinite(before["loss"]) or before["loss"] == after["loss"]:
        return _effort(after)
    share = (before["loss"] - loss) / (before["loss"] - after["loss"])
    return Effort(*(float(before[x] + share * (after[x] - before[x])) for x in ("step", "seconds")))


def end(course: pd.DataFrame) -> Effort:
    """The last row of a `mean_course`."""
    return Effort() if course.empty else _effort(course.iloc[-1])


def _effort(row: pd.Series) -> Effort:
    return Effort(float(row["step"]), float(row["seconds"]))
