"""A figure of when Adam's diagonal preconditioner helps, by how diagonal the Hessian is."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blockwise.figures.style import (
    GREY,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)

from .preconditioner import condition_ratio_table


def condition_ratio_figure(ratios: pd.DataFrame) -> Figure:
    """The ratio of `condition_ratios` against tau: a panel per dimension, a line per condition.

    Lines: medians within tenths of tau. Bands: quartiles. Under the line at 1 the preconditioner
    helps.
    """
    table = condition_ratio_table(ratios)
    dimensions = list(table.groupby("dimension"))
    with figure_style():
        figure, axes = panels((0.8 + 3.8 * len(dimensions), 3.9), [1] * len(dimensions))
        for panel, (dimension, rows) in zip(axes, dimensions, strict=True):
            panel.sharey(axes[0])
            _draw_conditions(panel, rows)
            panel_title(panel, f"{dimension} dimensions", "median and quartiles")
        axes[0].set_yscale("log")
        axes[0].set_ylabel("condition number of D H over that of H")
        legend_below(axes[0], 2)
    return figure


def _draw_conditions(axes: Axes, table: pd.DataFrame) -> None:
    names = [f"condition number {condition:g}" for condition in table["condition"].unique()]
    styles = group_styles(names, "")
    axes.axhline(1, color=GREY, lw=1)
    for name, (_, rows) in zip(names, table.groupby("condition"), strict=True):
        style = styles[name]
        axes.plot(
            rows["tau"], rows["median"], color=style.color, marker=style.marker, ls=style.line,
            ms=4, mec="white", mew=0.6, label=name,
        )  # fmt: skip
        axes.fill_between(
            rows["tau"], rows["low"], rows["high"], color=style.color, alpha=0.14, lw=0
        )
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("tau: share of the diagonal in ||H||$_F^2$ (1: diagonal)")
