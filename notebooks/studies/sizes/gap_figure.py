"""A figure of gaps against the size of the model, with the line through them and its doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from blockwise.figures.style import GREY, INK, figure_style, group_styles, panel_title

if TYPE_CHECKING:
    from .gap_by_size import GapLine


def gap_figure(
    table: pd.DataFrame, line: GapLine, sizes: Sequence[float], group: str, baseline: str
) -> Figure:
    """Points of `gap_table` with 95 % intervals; the line up to the largest of `sizes`.

    Band: 95 % of the line, where there are degrees of freedom for one. Dashed: beyond the largest
    model that ran.
    """
    color = group_styles([baseline, group], baseline)[group].color
    ran = table["parameters"].to_numpy(float)
    with figure_style():
        figure = Figure(figsize=(6.2, 3.8), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
        axes = figure.subplots()
        axes.axhline(0, color=GREY, lw=0.8)
        axes.errorbar(
            ran, table["gap"], yerr=table["half_width"], fmt="o", color=INK, ms=5, elinewidth=1.2, capsize=2.5
        )
        for begin, end, dashes in ((ran.min(), ran.max(), "-"), (ran.max(), max([*sizes, ran.max()]), "--")):
            grid = np.geomspace(begin, end, 50)
            values, halves = np.array([line.at(size) for size in grid]).T
            axes.plot(grid, values, dashes, color=color, lw=1.6)
            axes.fill_between(grid, values - halves, values + halves, color=color, alpha=0.15, lw=0)
        _keep_points_in_view(axes, table)
        axes.set_xscale("log")
        axes.set_xlabel("parameters")
        axes.set_ylabel("nats per token")
        panel_title(axes, f"{group} minus {baseline}", "final validation loss, paired by seed; bars and band: 95 %")
    return figure


def _keep_points_in_view(axes: Axes, table: pd.DataFrame) -> None:
    """An interval of two seeds, or a band far outside, would flatten everything else."""
    half = table["half_width"].median()
    low, high = (table["gap"] - half).min(), (table["gap"] + half).max()
    room = 0.5 * (max(high, 0.0) - min(low, 0.0))
    axes.set_ylim(min(low, 0.0) - room, max(high, 0.0) + room)
