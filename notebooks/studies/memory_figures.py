"""Figures of memory plans: what training needs against the size of the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from blockwise.figures.style import (
    GREY,
    INK,
    LOSS_UNIT,
    GroupStyle,
    byte_scale,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
    three_digits,
)

_GIB = 1024.0**3
_FAMILY_MARKERS = ("o", "s", "^", "D")

# Line styles of the two peaks that every plan has, whatever its configuration asks for.
_PEAKS = {"peak_bytes_without_checkpointing": "-", "peak_bytes_with_checkpointing": ":"}

# What a step needs, in the order of the bars, with the colour of text on them.
_PARTS = {
    "parameter_bytes": ("parameters", "#737373", "white"),
    "gradient_bytes": ("gradients", "#bdbdbd", INK),
    "master_bytes": ("master weights", "#e69f00", INK),
    "state_bytes": ("optimizer state", "#0072b2", "white"),
    "activation_bytes": ("activations", "#009e73", "white"),
}


def planned_memory_figure(plans: pd.DataFrame, baseline: str = "adamw") -> Figure:
    """Optimizer state, peak memory and what is saved at the peak, against parameters.

    `plans` is a table of `read_plans`. The axes are logarithmic but for the saving, which is in
    percent of the baseline's peak. Every size has the micro-batch and sequence of its own file, so
    a peak is not a smooth function of size.
    """
    with figure_style():
        if plans.empty:
            figure, (only,) = panels((5.2, 4.1), (1,))
            empty_panel(only, "no plan")
            return figure
        figure, (left, middle, right) = panels((11.4, 4.1), (1, 1.1, 1))
        styles = group_styles(list(dict.fromkeys(plans["rule"])), baseline)
        _draw_state(left, plans, styles)
        _draw_peaks(middle, plans, styles)
        _draw_savings(right, plans, styles, baseline)
    return figure


def memory_parts_figure(plans: pd.DataFrame, name: str) -> Figure:
    """What the memory of a step is made of, for every optimizer of one configuration, stacked."""
    rows = plans[plans["name"] == name]
    with figure_style():
        figure, (axes,) = panels((6.4, 3.4), (1,))
        if rows.empty:
            empty_panel(axes, f"no plan of {name}")
            return figure
        _draw_parts(axes, rows)
        panel_title(axes, f"Memory: {name}", "at the peak of a step; the parts add up to it")
    return figure


def position_loss_figure(losses: Sequence[float]) -> Figure:
    """Loss against the position in the sequence: later tokens have more context."""
    with figure_style():
        figure, (axes,) = panels((5.2, 3.4), (1,))
        if not len(losses):
            empty_panel(axes, "no position")
            return figure
        axes.plot(np.arange(len(losses)), losses, color="#004c7a", lw=1.2)
        axes.set_xlim(0, None)
        axes.set_xlabel("position in the sequence")
        axes.set_ylabel(f"loss ({LOSS_UNIT})")
        panel_title(axes, "Loss by position")
    return figure


# (a) optimizer state


def _draw_state(axes: Axes, plans: pd.DataFrame, styles: dict[str, GroupStyle]) -> None:
    for rule, style in styles.items():
        rows = plans[plans["rule"] == rule]
        state = rows["optimizer_bytes"] - rows["master_bytes"]
        axes.plot(
            rows["parameters"], state / _GIB, color=style.color, marker=style.marker,
            ls=style.line, ms=4, mec="white", mew=0.5, lw=1.1, label=rule,
        )  # fmt: skip
    _size_axes(axes, plans)
    panel_title(axes, "Optimizer state", "all families")
    legend_below(axes, 2)


def _size_axes(axes: Axes, plans: pd.DataFrame, logarithmic: bool = True) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    low, high = plans["parameters"].min(), plans["parameters"].max()
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.xaxis.set_major_locator(FixedLocator([10.0**power for power in range(3, 13)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylabel("memory (GiB)")
        axes.yaxis.set_major_locator(LogLocator(subs=_tick_digits(axes)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _tick_digits(axes: Axes) -> tuple[float, ...]:
    """Leading digits of the labels: powers of ten alone leave a short axis with a single label."""
    bottom, top = axes.get_ylim()
    return (1,) if top / bottom > 300 else (1, 2, 5)


def _count(value: float) -> str:
    for scale, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:g}"


# (b) peaks


def _draw_peaks(axes: Axes, plans: pd.DataFrame, styles: dict[str, GroupStyle]) -> None:
    markers = _family_markers(plans)
    for (rule, family), rows in plans.groupby(["rule", "family"], sort=False):
        for column, line in _PEAKS.items():
            axes.plot(
                rows["parameters"], rows[column] / _GIB, ls=line, color=styles[rule].color,
                marker=markers[family], ms=4, mec="white", mew=0.6, lw=1.1,
                label=f"{rule} {family} {column}",
            )  # fmt: skip
    _size_axes(axes, plans)
    panel_title(axes, "Peak of a step", "dotted: with activation checkpointing")
    legend_below(axes, 2, handles=_handles(styles, markers))


def _family_markers(plans: pd.DataFrame) -> dict[str, str]:
    families = sorted(set(plans["family"]))
    return {family: _FAMILY_MARKERS[i % 4] for i, family in enumerate(families)}


def _handles(styles: dict[str, GroupStyle], markers: dict[str, str]) -> list[Line2D]:
    rules = [Line2D([], [], color=style.color, label=rule) for rule, style in styles.items()]
    families = [
        Line2D([], [], ls="", marker=marker, ms=5, color=GREY, label=family)
        for family, marker in markers.items()
    ]
    return rules + families


# (c) savings


def _draw_savings(
    axes: Axes, plans: pd.DataFrame, styles: dict[str, GroupStyle], baseline: str
) -> None:
    markers = _family_markers(plans)
    for rule in (one for one in styles if one != baseline):
        for column, line in _PEAKS.items():
            saved = memory_savings(plans, rule, column, baseline)
            for family, rows in saved.groupby("family", sort=False):
                axes.plot(
                    rows["parameters"], 100 * rows["saved"], ls=line, color=styles[rule].color,
                    marker=markers[family], ms=4, mec="white", mew=0.6, lw=1.1,
                    label=f"{rule} {family} {column}",
                )  # fmt: skip
    _size_axes(axes, plans, logarithmic=False)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
    axes.set_ylabel(f"less than {baseline} (%)")
    panel_title(axes, "Saved at the peak", "dotted: with activation checkpointing")


def memory_savings(
    plans: pd.DataFrame, rule: str, column: str = "peak_bytes", baseline: str = "adamw"
) -> pd.DataFrame:
    """`saved` = 1 - rule / baseline in a column of bytes, for every configuration that has both."""
    keys = ["name", "family", "parameters"]
    both = [plans[plans["rule"] == one].set_index(keys)[column] for one in (rule, baseline)]
    saved = (1 - both[0] / both[1]).dropna().rename("saved").reset_index()
    return saved.sort_values("parameters", kind="stable", ignore_index=True)


# parts of one configuration


def _draw_parts(axes: Axes, rows: pd.DataFrame) -> None:
    # Master weights are optimizer bytes; they are drawn apart.
    rows = rows.assign(state_bytes=rows["optimizer_bytes"] - rows["master_bytes"])
    used = [part for part in _PARTS if rows[part].any()]
    totals = rows[used].sum(axis=1)
    scale, unit = byte_scale(totals.max())
    left, at = np.zeros(len(rows)), np.arange(len(rows))
    for part in used:
        label, color, ink = _PARTS[part]
        sizes = rows[part].to_numpy() / scale
        bars = axes.barh(at, sizes, left=left, height=0.46, color=color, label=label,
                         edgecolor="white", lw=0.6)  # fmt: skip
        words = [three_digits(size) if size * scale > 0.07 * totals.max() else "" for size in sizes]
        axes.bar_label(bars, words, label_type="center", fontsize=7.5, color=ink)
        left = left + sizes
    for row, total in zip(at, left, strict=True):
        axes.annotate(three_digits(total), (total, row), (4, 0), textcoords="offset points",
                      va="center")  # fmt: skip
    axes.set_yticks(at, rows["rule"])
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * left.max())
    axes.grid(visible=False)
    axes.set_xlabel(f"memory ({unit})")
    legend_below(axes, 3)
