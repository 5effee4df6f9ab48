"""Confidence intervals over the seeds of a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Quantiles of Student's t at 0.975 for 1 to 30 degrees of freedom; beyond, their expansion around
# that of the normal distribution. A table, because this is the only thing that would need SciPy.
_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
_NORMAL_975 = 1.959964


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


def t_quantile(degrees_of_freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t distribution, to four decimals.

    Above 30 degrees n of freedom z + (z^3 + z) / 4n + (5 z^5 + 16 z^3 + 3 z) / 96n^2 +
    (3 z^7 + 19 z^5 + 17 z^3 - 15 z) / 384n^3 with the normal quantile z (Abramowitz and Stegun
    26.7.5), which is off by less than 1e-5.
    """
    if degrees_of_freedom < 1:
        raise ValueError(f"degrees_of_freedom is {degrees_of_freedom}, at least 1 is needed")
    if degrees_of_freedom > len(_T_975):
        z, n = _NORMAL_975, degrees_of_freedom
        third = 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
        return (
            z
            + (z**3 + z) / (4 * n)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
            + third / (384 * n**3)
        )
    return _T_975[degrees_of_freedom - 1]


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
