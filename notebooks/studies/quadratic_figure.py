"""A figure of how far every optimizer comes on block-diagonal quadratics."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from blockwise.figures.style import GREY, GroupStyle, figure_style, group_styles, panel_title

from .quadratic_tables import quadratic_table

_ROW_INCHES = 0.24


def quadratic_figure(folder: str | os.PathLike[str]) -> Figure:
    """log10(final loss / initial loss) of every group of `quadratic_table`, with 95 % intervals.

    Columns of panels: condition number of the whole. Rows: that of the blocks. Hollow: the best
    learning rate is at the grid's end, or a problem failed at it.
    """
    table = quadratic_table(folder)
    groups = list(dict.fromkeys(table["group"]))
    columns, rows = (sorted(table[name].unique()) for name in ("condition", "block_condition"))
    styles = group_styles(groups, groups[0])
    panels = table.set_index(["block_condition", "condition"])
    with figure_style():
        size = (1.3 + 2.5 * len(columns), (1.0 + _ROW_INCHES * len(groups)) * len(rows) + 0.3)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey=True)
        for (row, column), axes in np.ndenumerate(grid):
            block_condition, condition = rows[row], columns[column]
            if (block_condition, condition) in panels.index:
                _draw_groups(axes, panels.loc[[(block_condition, condition)]], groups, styles)
            panel_title(axes, f"Condition number {condition:g}", f"of a block: {block_condition:g}")
        grid[0][0].set_ylim(len(groups) - 0.5, -0.5)
        figure.supxlabel(
            "log10 of final over initial loss (lower is better); bars: 95 %; hollow: the best rate "
            "is the grid's end, or a problem failed", fontsize=8.5,
        )  # fmt: skip
    return figure


def _draw_groups(
    axes: Axes, table: pd.DataFrame, groups: list[str], styles: dict[str, GroupStyle]
) -> None:
    axes.axvline(0, color=GREY, lw=0.8)
    for _, row in table.iterrows():
        style = styles[row["group"]]
        hollow = row["at_end"] or row["failed"]
        axes.errorbar(
            row["mean"], groups.index(row["group"]), xerr=row["high"] - row["mean"],
            fmt=style.marker, color=style.color, mfc="white" if hollow else style.color, ms=5,
            elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
    axes.set_yticks(range(len(groups)), groups)
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
