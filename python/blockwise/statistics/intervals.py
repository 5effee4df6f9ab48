"""Confidence intervals over the seeds of a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .student_t import t_quantile


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its 95 % interval; `half_width` is NaN where there is only one value."""

    count: int
    mean: float
    half_width: float

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean of `values` and the half width  t_{0.975, n-1} s / sqrt(n)  of its 95 % interval.

    Values that are NaN are left out; without any value left, mean and half width are NaN.
    """
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    count = len(array)
    if count == 0:
        return MeanInterval(0, math.nan, math.nan)
    if count == 1:
        return MeanInterval(1, float(array[0]), math.nan)
    half_width = t_quantile(count - 1) * float(np.std(array, ddof=1)) / math.sqrt(count)
    return MeanInterval(count, float(np.mean(array)), half_width)
