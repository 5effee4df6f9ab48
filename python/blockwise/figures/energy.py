"""A figure of how much of the Hessian partition rules catch in their diagonal blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..files.spectra import Spectrum
from .style import (
    GREY,
    GroupStyle,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    short_name,
)

_ROW_INCHES = 0.21
_SPREAD = 0.5  # of a row's height, for the dots of one tensor


def energy_figure(spectrum: Spectrum, step: int | None = None) -> Figure:
    """The lift of every partition rule in every tensor, with 95 % bars.

    lift = (share - random share) / (1 - random share): 0 is no better than random blocks of equal
    sizes, 1 means that nothing of ||H||_F^2 lies outside the blocks. A bar is the share's 95 %
    interval (Student's t), on the same scale; files of older programs do not have it.
    """
    step = spectrum.measured_step(step)
    rows = spectrum.rows("energies", step)
    tensors = list(dict.fromkeys(rows["tensor_name"]))
    rules = list(dict.fromkeys(rows["rule_name"]))
    with figure_style():
        size = (6.6, max(_ROW_INCHES * len(tensors), 1.0) + 1.5)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        axes = figure.subplots()
        if rows.empty:
            empty_panel(axes, "no partitions measured")
            return figure
        offsets = _SPREAD * (np.arange(len(rules)) - (len(rules) - 1) / 2) / max(len(rules), 2)
        styles = group_styles(rules, "")
        for rule, offset in zip(rules, offsets, strict=True):
            chosen = rows[rows["rule_name"] == rule]
            at = chosen["tensor_name"].map(tensors.index) + offset
            _draw_rule(axes, chosen, at, rule, styles[rule])
        _finish(axes, [short_name(tensor) for tensor in tensors])
        panel_title(axes, f"Curvature within blocks, step {step}",
                    "lift over random blocks of equal sizes; bars: 95 %")  # fmt: skip
        legend_below(axes, 3)
    return figure


def _draw_rule(axes: Axes, rows: pd.DataFrame, at: pd.Series, rule: str, style: GroupStyle) -> None:
    bars = rows["share_half_width"] / (1 - rows["random_share"]).where(rows["random_share"] < 1)
    axes.errorbar(
        rows["lift"], at, xerr=bars, fmt=style.marker, ms=4.5, mec="white", mew=0.5,
        color=style.color, elinewidth=0.9, label=rule,
    )  # fmt: skip


def _finish(axes: Axes, tensors: list[str]) -> None:
    axes.axvline(0, color=GREY, lw=0.8)
    for row in range(0, len(tensors), 2):  # stripes lead the eye to the names
        axes.axhspan(row - 0.5, row + 0.5, color="#f5f5f5", lw=0, zorder=0)
    axes.set_yticks(range(len(tensors)), tensors, fontsize=7)
    axes.tick_params("y", length=0)
    axes.set_ylim(len(tensors) - 0.5, -0.5)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.05), max(high, 1.02))
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("lift (0: random blocks, 1: everything is inside)")
