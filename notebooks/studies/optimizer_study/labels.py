"""Names beside the points of a panel, placed so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from blockwise.figures.style import GREY

_DISTANCES = (7, 12, 18, 26, 36, 48, 62, 78, 96)  # points
_DIRECTIONS = np.pi / 8 * np.array([0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8])
_MARK = 4.0  # points: half the side of a marker's box
_FONT = 6.8
_GAP = 1.0  # points around a name
# What a place costs: per point of distance; per marker, name or line under the name.
_FAR, _ON_MARK, _ON_NAME, _ON_LINE, _OUTSIDE = 1.0, 1e3, 1e3, 40.0, 1e4


def place_labels(
    axes: Axes, points: np.ndarray, names: Sequence[str], lines: np.ndarray
) -> list[Annotation]:
    """Names the points, in the order given, each at the cheapest place that is left.

    points: x and y of each; lines: x, y, x, y of the lower left and upper right end of what had
    better not be covered, all in data coordinates. A name that is not at its point has a thin line
    to it. The panel's limits must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    marks = axes.transData.transform(points) * scale
    taken = [_boxes(marks, _MARK, _MARK)]
    inside = np.array(axes.get_window_extent().extents) * scale
    ends = axes.transData.transform(lines.reshape(-1, 2)).reshape(-1, 4) * scale
    labels: list[Annotation] = []
    for place, name in zip(marks, names, strict=True):
        half = _half_size(axes, name) * scale + _GAP
        offset = _cheapest(place, half, taken, ends, inside)
        taken.append(_boxes((place + offset)[None], *half))
        labels.append(_write(axes, name, points[len(labels)], offset, half))
    return labels


def _half_size(axes: Axes, name: str) -> np.ndarray:
    """Of a name, in pixels."""
    text = axes.text(0, 0, name, fontsize=_FONT)
    extent = text.get_window_extent()
    text.remove()
    return np.array([extent.width, extent.height]) / 2


def _boxes(centres: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """left, bottom, right, top."""
    half = np.array([half_width, half_height])
    return np.hstack([centres - half, centres + half])


def _cheapest(
    place: np.ndarray, half: np.ndarray, taken: list[np.ndarray], lines: np.ndarray,
    inside: np.ndarray,
) -> np.ndarray:  # fmt: skip
    distances, directions = np.meshgrid(_DISTANCES, _DIRECTIONS, indexing="ij")
    unit = np.stack([np.cos(directions), np.sin(directions)], axis=-1).reshape(-1, 2)
    offsets = unit * (distances.reshape(-1, 1) + half * np.abs(unit))
    boxes = _boxes(place + offsets, *half)
    marks, names = taken[0], np.concatenate([np.empty((0, 4)), *taken[1:]])
    cost = _FAR * distances.ravel()
    cost = cost + _ON_MARK * _overlaps(boxes, marks) + _ON_NAME * _overlaps(boxes, names)
    cost = cost + _ON_LINE * _overlaps(boxes, lines) + _OUTSIDE * _leaves(boxes, inside)
    return np.asarray(offsets[int(np.argmin(cost))])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of the others each box meets."""
    meets = (boxes[:, None, :2] < others[None, :, 2:]) & (boxes[:, None, 2:] > others[None, :, :2])
    return np.asarray(meets.all(axis=2).sum(axis=1))


def _leaves(boxes: np.ndarray, inside: np.ndarray) -> np.ndarray:
    out = (boxes[:, :2] < inside[:2]) | (boxes[:, 2:] > inside[2:])
    return np.asarray(out.any(axis=1))


def _write(
    axes: Axes, name: str, point: np.ndarray, offset: np.ndarray, half: np.ndarray
) -> Annotation:
    near = bool(np.all(np.abs(offset) <= half + _DISTANCES[1]))
    line = {"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 2}
    label = axes.annotate(
        name, tuple(point), tuple(offset), "data", "offset points", fontsize=_FONT, ha="center",
        va="center", arrowprops=None if near else line,
    )  # fmt: skip
    label.set_in_layout(False)
    return label
