"""An axis for eigenvalues: linear around the bulk, logarithmic on both sides of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

_LINEAR_SHARE = 1e-4  # of the largest |eigenvalue|: a bulk that is narrower is a line
_MARGIN = 0.05  # of the axis, on each side
_LABELS = 0.35  # of the axis lies at least between labels of which one is on each side
_NARROWEST = 0.02  # of the largest |eigenvalue|, on each side


@dataclass(frozen=True)
class EigenvalueAxis:
    """Where an axis begins and ends, and up to which |eigenvalue| it is linear.

    `linear` is 0 for an axis that is linear everywhere: the bulk is most of it.
    """

    low: float
    high: float
    linear: float

    @staticmethod
    def around(smallest: float, largest: float, bulk: tuple[float, float]) -> EigenvalueAxis:
        """For eigenvalues from smallest to largest with their bulk between two ends."""
        size = max(abs(smallest), abs(largest))
        if size == 0:
            return EigenvalueAxis(-1.0, 1.0, 0.0)
        linear = max(*map(abs, bulk), _LINEAR_SHARE * size)
        if size <= 3 * linear:
            margin = max(_MARGIN * (largest - smallest), _NARROWEST * size)
            return EigenvalueAxis(smallest - margin, largest + margin, 0.0)
        left, right = (_place(value / linear) for value in (smallest, largest))
        margin = _MARGIN * (right - left)
        return EigenvalueAxis(
            linear * _value(left - margin), linear * _value(right + margin), linear
        )

    def apply(self, axes: Axes, labels: int = 4, vertical: bool = False) -> None:
        """Scales the x or the y axis; about so many labels on each side of zero."""
        axis = axes.yaxis if vertical else axes.xaxis
        set_scale = axes.set_yscale if vertical else axes.set_xscale
        set_limits = axes.set_ylim if vertical else axes.set_xlim
        if not self.linear:
            axis.set_major_locator(MaxNLocator(2 * labels - 1, steps=[1, 2, 5, 10]))
        else:
            set_scale("symlog", linthresh=self.linear)
            axis.set_major_locator(FixedLocator(self._ticks(labels)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
            axis.set_minor_locator(FixedLocator(self._minor_ticks()))
        set_limits(self.low, self.high)

    def _powers(self) -> range:
        """Powers of ten outside the linear part, and the one in its outer half."""
        size = max(abs(self.low), abs(self.high))
        first = int(np.ceil(np.log10(0.4 * self.linear)))
        return range(first, int(np.floor(np.log10(size))) + 1)

    def _ticks(self, most: int) -> list[float]:
        """Zero and powers of ten, the largest first, as far as their labels have room."""
        powers = [10.0**power for power in self._powers()][::-1]
        signed = [sign * power for power in powers for sign in (1.0, -1.0)]
        inside = [value for value in (0.0, *signed) if self.low <= value <= self.high]
        room = _LABELS / most * (self._at(self.high) - self._at(self.low))
        ticks: list[float] = []
        for value in inside:
            if all(abs(self._at(value) - self._at(tick)) >= room for tick in ticks):
                ticks.append(value)
        return sorted(ticks)

    def _at(self, value: float) -> float:
        return _place(value / self.linear)

    def _minor_ticks(self) -> list[float]:
        """Twice to nine times the powers of ten where the axis is logarithmic."""
        powers = self._powers()
        sizes = [k * 10.0**p for p in range(powers.start - 1, powers.stop) for k in range(2, 10)]
        return [sign * size for size in sizes if size > self.linear for sign in (1, -1)]


def _place(ratio: float) -> float:
    """Matplotlib's place of an eigenvalue on the axis, in decades; ratio: eigenvalue / linear."""
    linear = 1 / (1 - 0.1)  # its linear part is as if it were the log scale's last decade
    size = abs(ratio)
    return float(np.sign(ratio) * (linear + np.log10(size))) if size > 1 else ratio * linear


def _value(place: float) -> float:
    linear = 1 / (1 - 0.1)
    size = abs(place)
    return float(np.sign(place) * 10 ** (size - linear)) if size > linear else place / linear


def power_of_ten(value: float) -> str:
    """A power of ten with its sign, as the label of an axis; zero is 0."""
    if value == 0 or 1e-3 < abs(value) < 1e4:
        return f"{value:g}".replace("-", "−")
    return f"${'-' if value < 0 else ''}10^{{{round(np.log10(abs(value)))}}}$"
