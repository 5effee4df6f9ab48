"""A figure of the rates that sections need without a second moment, and what they then cost."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blockwise.figures.style import (
    LOSS_UNIT,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)

from .leave_out import read_left_out

_IMPLIED = {"mean_v": "implied by mean(v)", "curvature": "best by curvature"}


def left_out_figure(folder: str | os.PathLike[str]) -> Figure:
    """Of every number of sections left out: the rates, and the loss less AdamW's.

    Left: the searched rate with its 95 % interval, hollow where it is an end of the grid, and the
    rates that mean(v) and the curvature imply. Right: the difference in final loss, paired by
    seed, with its 95 % interval; below 0 the searched rate does better than AdamW.
    """
    table = read_left_out(folder)
    with figure_style():
        figure, (left, right) = panels((9.2, 3.8), (1, 1))
        _draw_rates(left, table)
        _draw_differences(right, table)
        for axes in (left, right):
            axes.set_xticks(range(len(table)), [str(count) for count in table["left_out"]])
            axes.set_xlim(-0.5, len(table) - 0.5)
            axes.set_xlabel("sections left out")
    return figure


def _draw_rates(axes: Axes, table: pd.DataFrame) -> None:
    styles = group_styles(["rate", *_IMPLIED], "rate")
    at = np.arange(len(table))
    color = styles["rate"].color
    errors = [table["rate"] - table["low"], table["high"] - table["rate"]]
    axes.errorbar(
        at, table["rate"], yerr=errors, ls="", marker="o", ms=5, color=color, elinewidth=1.2,
        capsize=2.5, label="searched, 95 %",
    )  # fmt: skip
    ends = table["at_end"].to_numpy()
    axes.plot(
        at[ends], table.loc[ends, "rate"], "o", ms=5, color=color, mfc="white", zorder=3,
        label="_end",
    )  # fmt: skip
    for place, (column, label) in enumerate(_IMPLIED.items()):
        axes.plot(
            at + 0.14 * (place + 1), table[column], styles[column].marker, ms=5,
            color=styles[column].color, label=label,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylabel("learning rate")
    panel_title(axes, "One rate for what is left out", "hollow: an end of the grid")
    legend_below(axes, 3)


def _draw_differences(axes: Axes, table: pd.DataFrame) -> None:
    color = group_styles(["adamw", "left_out"], "adamw")["left_out"].color
    axes.axhline(0, lw=1, color=group_styles(["adamw"], "adamw")["adamw"].color)
    axes.errorbar(
        np.arange(len(table)), table["difference"], yerr=table["half_width"], ls="", marker="o",
        ms=5, color=color, elinewidth=1.2, capsize=2.5,
    )  # fmt: skip
    axes.set_ylabel(f"difference in loss ({LOSS_UNIT})")
    panel_title(axes, "Difference to AdamW", "paired by seed; bar: 95 % interval")
