"""Loss against what an optimizer keeps, and against the learning rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from blockwise.analysis.sweep_tables import configurations
from blockwise.figures.style import (
    GREY,
    INK,
    LOSS_UNIT,
    GroupStyle,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)
from blockwise.files.sweep import LEARNING_RATE, Sweep

from .families import ORDER, family_of
from .labels import place_labels
from .pareto import pareto_front

_BYTE_TICKS = (0, 0.5, 1, 2, 4, 8, 16, 32)


# ---- loss against bytes --------------------------------------------------------------------------


def loss_bytes_figure(table: pd.DataFrame, baseline: str) -> Figure:
    """Final loss against bytes of optimizer state per parameter, of a `study_table`.

    Bars: 95 % t interval over seeds. Line: the groups that no other one beats in both, by their
    means alone. Losses far above the others stand at the top edge, with the number. The axis of
    bytes is linear up to 1 and logarithmic from there.
    """
    table = table.assign(bytes=table["state_bytes"] / table["parameters"]).dropna(subset=["bytes"])
    with figure_style():
        figure, (axes,) = panels((10.2, 6.4), (1,))
        low, top = _loss_limits(table)
        _byte_axis(axes, table["bytes"].max())
        axes.set_ylim(low, top)
        axes.set_ylabel(f"final validation loss ({LOSS_UNIT})")
        corners = _front_corners(table, axes.get_xlim()[1])
        axes.plot(*corners.T, color=GREY, lw=1, ls="--", zorder=1, label="_front")
        styles = _family_styles(table, baseline)
        edge = top - 0.015 * (top - low)
        drawn = table.assign(at=table["loss"].clip(upper=edge), beyond=table["loss"] > edge)
        for _, row in drawn.iterrows():
            _draw_point(axes, row, styles[_look(row, baseline)])
        words = "confirmed" if table["confirmed"].all() else "mean"
        panel_title(axes, "Loss against state", f"{words}, with 95 % interval over seeds")
        legend_below(axes, 4, handles=_handles(styles))
        _name_points(axes, drawn, corners)
    return figure


def _loss_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Room for four fifths of the groups; who is far above would flatten them."""
    losses = table["loss"]
    lowest, most = losses.min(), losses.quantile(0.8)
    top = min(losses.max(), lowest + 1.5 * (most - lowest))
    room = max(0.08 * (top - lowest), 1e-3)
    return lowest - room, top + room


def _byte_axis(axes: Axes, largest: float) -> None:
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    right = max(1.4 * largest, 1.4)
    axes.set_xlim(-0.12, right)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _BYTE_TICKS if tick <= right]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("optimizer state (bytes per parameter)")


def _front_corners(table: pd.DataFrame, right: float) -> np.ndarray:
    """Of the steps that the front makes, up to the right edge: x and y of each."""
    front = pareto_front(table, "bytes", "loss")
    x, y = np.repeat([*front["bytes"], right], 2)[1:], np.repeat(front["loss"], 2)
    return np.column_stack([x[: len(y)], y])


def _look(row: pd.Series, baseline: str) -> str:
    return baseline if row["group"] == baseline else str(row["family"])


def _family_styles(table: pd.DataFrame, baseline: str) -> dict[str, GroupStyle]:
    used = [family for family in ORDER if family in set(table["family"])]
    return group_styles([baseline, *used], baseline)


def _draw_point(axes: Axes, row: pd.Series, style: GroupStyle) -> None:
    half_width = 0 if row["beyond"] else np.nan_to_num(row["half_width"])
    axes.errorbar(
        row["bytes"], row["at"], yerr=half_width, color=style.color, marker=style.marker, ms=6,
        mec="white", mew=0.6, elinewidth=0.9, label=f"_{row['group']}", clip_on=not row["beyond"],
    )  # fmt: skip


def _handles(styles: dict[str, GroupStyle]) -> list[Line2D]:
    handles = [
        Line2D([], [], ls="", marker=style.marker, ms=5, color=style.color, label=name)
        for name, style in styles.items()
    ]
    return [*handles, Line2D([], [], color=GREY, lw=1, ls="--", label="beaten by none in both")]


def _name_points(axes: Axes, drawn: pd.DataFrame, corners: np.ndarray) -> None:
    rows = drawn.sort_values(["beyond", "at"], ascending=[False, True], kind="stable")
    names = [
        f"{row['group']} {row['loss']:.2f} ↑" if row["beyond"] else str(row["group"])
        for _, row in rows.iterrows()
    ]
    half = rows["half_width"].fillna(0).where(~rows["beyond"], 0)
    bars = np.column_stack([rows["bytes"], rows["at"] - half, rows["bytes"], rows["at"] + half])
    ends = np.stack([corners[:-1], corners[1:]])
    steps = np.hstack([ends.min(axis=0), ends.max(axis=0)])
    points = rows[["bytes", "at"]].to_numpy(dtype=float)
    place_labels(axes, points, names, np.concatenate([bars, steps]))


# ---- loss against the rate -----------------------------------------------------------------------


def rates_figure(sweep: Sweep) -> Figure:
    """Mean final loss over the learning rate on the seeds that choose, a panel per family.

    The baseline is in every panel. Open marks: a seed diverged; crosses at the top: all did.
    """
    table = configurations(sweep)
    families = _families(sweep)
    shown = [family for family in ORDER if family in families.values()]
    columns = min(3 if len(shown) <= 6 else 4, max(len(shown), 1))
    rows = max(1, -(-len(shown) // columns))
    with figure_style():
        figure = Figure(
            figsize=(0.4 + 3.5 * columns, 4.1 * rows),
            layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.12),
        )
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for family, axes in zip(shown, grid.flat, strict=False):
            _draw_family(axes, sweep, table, [g for g in families if families[g] == family])
            panel_title(axes, family)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        if not table["finished"].any():
            empty_panel(grid[0][0], "no run has finished")
        _rate_axes(grid, table)
    return figure


def _families(sweep: Sweep) -> dict[str, str]:
    """The family of every group."""
    return {one.group: family_of(one.overrides) for one in reversed(sweep.members)}


def _draw_family(axes: Axes, sweep: Sweep, table: pd.DataFrame, groups: list[str]) -> None:
    own = [group for group in sweep.groups if group in groups and group != sweep.baseline]
    styles = group_styles([sweep.baseline, *own], sweep.baseline)
    for place, (group, style) in enumerate(styles.items()):
        rows = table[table["group"] == group].sort_values(LEARNING_RATE)
        done = rows[rows["finished"] > 0]
        axes.plot(
            done[LEARNING_RATE], done["mean"], color=style.color, marker=style.marker,
            ls=style.line, ms=4, mec="white", mew=0.6, lw=1.2, label=group,
        )  # fmt: skip
        some = done[done["diverged"] > 0]
        axes.plot(
            some[LEARNING_RATE], some["mean"], style.marker, ms=4, mfc="white", mec=style.color,
            label=f"_some of {group}",
        )  # fmt: skip
        none = rows[(rows["finished"] == 0) & (rows["diverged"] > 0)]
        axes.plot(
            none[LEARNING_RATE], np.full(len(none), 0.98 - 0.022 * place), "x", color=style.color, ms=3.5,
            transform=axes.get_xaxis_transform(), label=f"_diverged {group}",
        )  # fmt: skip
    legend_below(axes, 2)


def _rate_axes(grid: np.ndarray, table: pd.DataFrame) -> None:
    best = table[table["finished"] > 0].groupby("group")["mean"].min()
    if not best.empty:
        low, high = best.min(), best.max()
        room = max(0.3 * (high - low), 0.05)
        grid[0][0].set_ylim(low - 0.25 * room, high + room)
    grid[0][0].set_xscale("log")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"final validation loss ({LOSS_UNIT})", color=INK)
    for axes in grid.flat:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("peak learning rate")
