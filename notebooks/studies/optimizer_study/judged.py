"""The runs that judge a group: those of its best configuration on seeds that chose nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from blockwise.analysis.sweep_tables import judged_configurations
from blockwise.files.run import Run
from blockwise.files.sweep import Member, Sweep


@dataclass(frozen=True)
class Judged:
    """A group at its best configuration; the runs that ended, finished or diverged."""

    group: str
    confirmed: bool
    """Whether the seeds chose nothing; otherwise they are those that chose the configuration."""
    members: tuple[Member, ...]
    runs: tuple[Run, ...]
    losses: dict[int, float]
    """Final losses by seed, nats per token, of the runs that finished."""

    @property
    def learning_rate(self) -> float:
        return self.members[0].learning_rate

    @property
    def diverged(self) -> int:
        return len(self.runs) - len(self.losses)


def judged_groups(sweep: Sweep) -> dict[str, Judged]:
    """By group, in the sweep's order; groups without a finished run are not there."""
    rows = judged_configurations(sweep)
    return {row["group"]: _judged(sweep, row) for _, row in rows.iterrows()}


def _judged(sweep: Sweep, row: pd.Series) -> Judged:
    among = sweep.confirmations if row["confirmed"] else sweep.members
    configuration = next(one.configuration for one in among if one.id in row["ids"])
    ended = tuple(
        one
        for one in among
        if one.configuration == configuration
        and (np.isfinite(sweep.final_loss(one)) or sweep.diverged(one))
    )
    losses = {one.seed: sweep.final_loss(one) for one in ended}
    return Judged(
        group=str(row["group"]),
        confirmed=bool(row["confirmed"]),
        members=ended,
        runs=tuple(sweep.runs[one.id] for one in ended),
        losses={seed: loss for seed, loss in losses.items() if np.isfinite(loss)},
    )
