"""A figure of the loss over the learning rate, and of the band of rates that are good enough."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from blockwise.figures.style import (
    GREY,
    INK,
    LOSS_UNIT,
    GroupStyle,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    legend_columns,
    panel_title,
    rate_ticks,
)
from blockwise.files.sweep import LEARNING_RATE, Sweep

from .stability import TOLERANCE, settings, stability_table

_ROW_INCHES = 0.27
_TOLERANCES_SHOWN = 12


def stability_figure(sweep: Sweep, tolerance: float = TOLERANCE) -> Figure:
    """Mean final loss over the learning rate, and the bands of `stability_table` as thick bars.

    Left: a line per group, up to 12 tolerances above the lowest loss, that higher losses do not
    flatten it. Right: a row per group, with its name; bar: the band; mark: the best rate; cross:
    the lowest rate with which a seed diverged. Whatever else the sweep varies has a row of panels
    for each value.
    """
    bands, styles = stability_table(sweep, tolerance), group_styles(sweep.groups, sweep.baseline)
    parts = list(settings(sweep))
    height = max(3.4, 1.3 + _ROW_INCHES * len(sweep.groups))
    with figure_style():
        figure = Figure(
            figsize=(10.2, height * len(parts)),
            layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08),
        )
        grid = figure.subplots(len(parts), 2, squeeze=False, sharex=True)
        for (setting, table), (left, right) in zip(parts, grid, strict=True):
            chosen = bands
            for name, value in setting.items():
                chosen = chosen[chosen[name] == value]
            of = ", ".join(f"{name} {value}" for name, value in setting.items())
            _draw_losses(left, table, styles, tolerance)
            _draw_bands(right, chosen, sweep.groups, styles)
            rate_ticks(right, sorted(table[LEARNING_RATE].unique()))  # of both: they share it
            panel_title(left, "Final loss", ", ".join(filter(None, [of, "mean over seeds"])))
            what = f"mean loss within {tolerance:g} nats of the group's lowest"
            panel_title(right, "Rates that are as good as the best", what)
    return figure


def _draw_losses(
    axes: Axes, table: pd.DataFrame, styles: dict[str, GroupStyle], tolerance: float
) -> None:
    table = table[table["finished"] > 0]
    if table.empty:
        empty_panel(axes, "no run has finished")
        return
    for group, style in styles.items():
        rows = table[table["group"] == group].sort_values(LEARNING_RATE)
        if rows.empty:
            continue
        axes.plot(
            rows[LEARNING_RATE], rows["mean"], color=style.color, marker=style.marker,
            ls=style.line, ms=4, mec="white", mew=0.6, lw=1.2, label=group,
        )  # fmt: skip
    lowest = table["mean"].min()
    axes.set_ylim(lowest - tolerance, lowest + _TOLERANCES_SHOWN * tolerance)
    axes.set_xscale("log")
    axes.set_xlabel("peak learning rate")
    axes.set_ylabel(f"final validation loss ({LOSS_UNIT})")
    legend_below(axes, legend_columns(list(styles)))


def _draw_bands(
    axes: Axes, bands: pd.DataFrame, groups: list[str], styles: dict[str, GroupStyle]
) -> None:
    for _, row in bands.iterrows():
        style, at = styles[row["group"]], groups.index(row["group"])
        if np.isfinite(row["band_low"]):
            axes.plot(
                [row["band_low"], row["band_high"]], [at, at], color=style.color, lw=7,
                alpha=0.35, solid_capstyle="butt", label=f"_band {row['group']}",
            )  # fmt: skip
        axes.plot(
            row["best_rate"], at, style.marker, color=style.color, ms=5, mec="white", mew=0.6,
            label=f"_best {row['group']}",
        )  # fmt: skip
        axes.plot(
            row["diverged_rate"], at, "x", color=INK, ms=5, mew=1.4,
            label=f"_diverged {row['group']}",
        )  # fmt: skip
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xscale("log")
    axes.set_xlabel("peak learning rate")
    handles = [
        Line2D([], [], color=GREY, lw=7, alpha=0.35, solid_capstyle="butt", label="such rates"),
        Line2D([], [], color=GREY, ls="", marker="o", ms=5, label="the best"),
    ]
    if bands["diverged_rate"].notna().any():
        label = "the lowest at which a seed diverged"
        handles.append(Line2D([], [], color=INK, ls="", marker="x", ms=5, mew=1.4, label=label))
    legend_below(axes, 3, handles=handles)
