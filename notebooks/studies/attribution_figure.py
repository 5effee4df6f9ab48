"""A figure of what refining and coarsening each role does to the loss."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from blockwise.figures.style import (
    GREY,
    LOSS_UNIT,
    GroupStyle,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
)
from blockwise.files.sweep import Sweep

from .attribution_tables import ALL_REFINED, CHANGES, attribution_table

_ROW_INCHES = 0.3


def attribution_figure(sweep: Sweep) -> Figure:
    """Differences of `attribution_table` with their 95 % intervals; the lower, the better.

    A row per role, a panel per width of the model (rows of panels) and length of the run
    (columns). Dashed line and band: what one value per element everywhere does.
    """
    table = attribution_table(sweep)
    styles = group_styles(["baseline", *CHANGES], "baseline")
    if table.empty or not table[list(CHANGES)].notna().any(axis=None):
        return _nothing_to_draw()
    sizes, lengths = (sorted(table[name].unique()) for name in ("n_embd", "steps"))
    height = 1.0 + _ROW_INCHES * table["role"].nunique()
    with figure_style():
        size = (1.6 + 3.2 * len(lengths), height * len(sizes) + 0.3)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        grid = figure.subplots(len(sizes), len(lengths), squeeze=False, sharex=True, sharey=True)
        for (row, column), axes in np.ndenumerate(grid):
            cell = (table["n_embd"] == sizes[row]) & (table["steps"] == lengths[column])
            _draw_roles(axes, table[cell], styles)
            panel_title(axes, f"{sizes[row]} wide", f"{lengths[column]} steps")
        grid[-1][0].set_xlabel(f"loss less that of {sweep.baseline} ({LOSS_UNIT})")
        legend_below(grid[-1][0], 2)
    return figure


def _nothing_to_draw() -> Figure:
    with figure_style():
        figure = Figure(figsize=(4.8, 3.0))
        empty_panel(figure.subplots(), "no role has a finished run and a finished baseline")
    return figure


def _draw_roles(axes: Axes, table: pd.DataFrame, styles: dict[str, GroupStyle]) -> None:
    axes.axvline(0, color=styles["baseline"].color, lw=1)
    for _, row in table.head(1).iterrows():
        gap, half_width = row["gap"], row["gap_half_width"]
        axes.axvline(gap, color=GREY, lw=1, ls="--", label=ALL_REFINED)
        if np.isfinite(half_width):
            axes.axvspan(
                gap - half_width, gap + half_width, color=GREY, alpha=0.12, lw=0,
                label=f"95 % of {ALL_REFINED}",
            )  # fmt: skip
    for place, change in enumerate(CHANGES):
        axes.errorbar(
            table[change], np.arange(len(table)) + 0.24 * (place - 0.5),
            xerr=table[f"{change}_half_width"], ls="", marker=styles[change].marker, ms=4.5,
            color=styles[change].color, mec="white", mew=0.6, elinewidth=1.2, capsize=2,
            label=change,
        )  # fmt: skip
    axes.set_yticks(range(len(table)), table["role"])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
