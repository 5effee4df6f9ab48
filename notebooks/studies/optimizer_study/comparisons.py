"""Paired tests of several groups against one baseline, corrected together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from blockwise.statistics.intervals import MeanInterval, mean_interval
from blockwise.statistics.student_t import central_probability


@dataclass(frozen=True)
class PairedTest:
    """Mean difference with its 95 % interval; p of Student's two-sided paired t-test."""

    difference: MeanInterval
    p_value: float
    """NaN with fewer than two pairs."""


def paired_test(own: Mapping[int, float], baseline: Mapping[int, float]) -> PairedTest:
    """Of own less the baseline's values, over the seeds that both have."""
    differences = [value - baseline[seed] for seed, value in own.items() if seed in baseline]
    return PairedTest(mean_interval(differences), _p_value(differences))


def _p_value(differences: Sequence[float]) -> float:
    count = len(differences)
    if count < 2:
        return math.nan
    mean, deviation = float(np.mean(differences)), float(np.std(differences, ddof=1))
    if deviation == 0:
        return float(mean == 0)
    return 1 - central_probability(abs(mean) * math.sqrt(count) / deviation, count - 1)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: max over j <= i of min(1, (m - j + 1) p_(j)), in their order.

    Values that are NaN stay so and are no comparisons.
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = highest
    return adjusted
