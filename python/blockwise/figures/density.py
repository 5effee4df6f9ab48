"""The picture of a spectral density: a curve for the bulk and sticks for the outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from ..analysis.spectral_density import Bulk, density, split_outliers
from .eigenvalue_axis import EigenvalueAxis

BULK_COLOR = "#0072b2"
OUTLIER_COLOR = "#d55e00"
_DECADES = 9  # of density under its maximum are drawn at most


@dataclass(frozen=True, eq=False)
class DensityPicture:
    """What is drawn of one spectrum.

    x, bulk: points of the curve (eigenvalues, and density per unit of eigenvalue). sticks: value
    and height of the outliers; a stick is as high as the peak of its weight would be, weight /
    (sigma sqrt(2 pi)), and outliers within sigma are one. sigma: broadening of the bulk.
    """

    axis: EigenvalueAxis
    x: np.ndarray
    bulk: np.ndarray
    sticks: pd.DataFrame
    sigma: float
    largest: float


def density_picture(measure: pd.DataFrame) -> DensityPicture:
    """Of a measure that is not empty: probe, node and weight, as `spectral_measure` gives it."""
    probes = measure["probe"].nunique()
    node = measure["node"].to_numpy(dtype=float)
    weight = measure["weight"].to_numpy(dtype=float)
    split = split_outliers(node, weight, probes)
    inner = node[~split.outliers]
    reach = 3 * split.sigma
    axis = EigenvalueAxis.around(
        min(node.min(), inner.min() - reach),
        max(node.max(), inner.max() + reach),
        (split.low - reach, split.high + reach),
    )
    x = _grid(axis, inner, split)
    bulk = density(measure.assign(weight=np.where(split.outliers, 0.0, weight)), x, split.sigma)
    sticks = _sticks(node[split.outliers], weight[split.outliers] / probes, split.sigma)
    return DensityPicture(axis, x, bulk, sticks, split.sigma, float(node.max()))


def _grid(axis: EigenvalueAxis, nodes: np.ndarray, split: Bulk) -> np.ndarray:
    """Points that are dense where the density changes: in the core, and around nodes beyond it."""
    reach = 6.5 * split.sigma  # nine decades down
    core = np.linspace(split.low - reach, split.high + reach, 600)
    beyond = nodes[(nodes < split.low) | (nodes > split.high)]
    peaks = (beyond[:, None] + np.linspace(-reach, reach, 27)).ravel()
    points = np.concatenate([[axis.low, axis.high], core, peaks])
    return np.unique(points[(points >= axis.low) & (points <= axis.high)])


def _sticks(values: np.ndarray, weights: np.ndarray, sigma: float) -> pd.DataFrame:
    """Outliers with those within sigma as one, at their weighted mean."""
    order = np.argsort(values)
    groups: list[list[int]] = []
    for i in order:
        if groups and values[i] - values[groups[-1][0]] <= sigma:
            groups[-1].append(i)
        else:
            groups.append([i])
    sums = [float(weights[group].sum()) for group in groups]
    means = [float(np.average(values[group], weights=weights[group] + 1e-300)) for group in groups]
    heights = np.array(sums) / (sigma * math.sqrt(2 * math.pi))
    return pd.DataFrame({"value": means, "height": heights})


def draw_density(axes: Axes, picture: DensityPicture, labels: int, room: float) -> None:
    """On a logarithmic y axis with about so many labels, which ends at `room` times the top."""
    sticks = picture.sticks
    top = max([picture.bulk.max(), *sticks["height"]])
    lowest = min([top, *sticks["height"][sticks["height"] > 0]])
    bottom = max(min(lowest / 5, top * 1e-4), top * 10.0**-_DECADES)
    axes.set_yscale("log")
    axes.fill_between(picture.x, picture.bulk, bottom / 10, color=BULK_COLOR, alpha=0.18, lw=0)
    axes.plot(picture.x, picture.bulk, color=BULK_COLOR, lw=1.2, label="bulk, broadened")
    if len(sticks):
        axes.vlines(
            sticks["value"], bottom / 10, sticks["height"], color=OUTLIER_COLOR, lw=1.1,
            label="outliers",
        )  # fmt: skip
        axes.plot(sticks["value"], sticks["height"], ".", color=OUTLIER_COLOR, ms=3.5)
    axes.set_ylim(bottom, room * top)
    axes.yaxis.set_major_locator(LogLocator(numticks=labels + 1))
    axes.yaxis.set_minor_locator(NullLocator())
    picture.axis.apply(axes, labels)
