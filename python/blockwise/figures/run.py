"""A figure of one run: its losses, its gradient norm and where its time went."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ..files.run import Run
from .style import (
    LOSS_UNIT,
    count_scale,
    empty_panel,
    figure_style,
    footnote,
    legend_below,
    panel_title,
    panels,
    three_digits,
)


def run_figure(run: Run) -> Figure:
    """Training and validation loss, gradient norm, and where the time of a step goes."""
    with figure_style():
        if run.steps.empty:
            figure, (only,) = panels((5.2, 3.6), (1,))
            empty_panel(only, "no step recorded yet")
            return figure
        figure, (left, middle, right) = panels((11.4, 3.6), (1.2, 1, 0.9))
        _draw_losses(left, run)
        _draw_gradient_norm(middle, run)
        _draw_time(right, run)
        if run.status != "finished":
            reason = f": {run.message}" if run.message else ""
            footnote(figure, f"{run.status} after step {run.last_step}{reason}")
    return figure


def _draw_losses(axes: Axes, run: Run) -> None:
    scale, unit = count_scale(run.steps["tokens"].max())
    axes.plot(
        run.steps["tokens"] / scale, run.steps["loss"], color="#9cc3dd", lw=0.9, label="training"
    )
    axes.plot(
        run.evaluations["tokens"] / scale, run.evaluations["loss"], color="#004c7a", marker="o",
        ms=4, mec="white", mew=0.7, lw=1.6, label="validation",
    )  # fmt: skip
    _skip_first_steps(axes, run)
    axes.set_xlim(0, None)
    axes.set_xlabel(f"training tokens{unit}")
    axes.set_ylabel(f"loss ({LOSS_UNIT})")
    panel_title(axes, "Loss")
    legend_below(axes, 2)


def _skip_first_steps(axes: Axes, run: Run) -> None:
    """Ends the loss axis where training is after a twentieth of its steps.

    Not for a run that diverged: there the rise is what one looks for.
    """
    later = run.steps["loss"].iloc[len(run.steps) // 20 :]
    if run.status == "diverged" or len(later) < 20:
        return
    margin = 0.05 * (later.max() - later.min())
    if np.isfinite(margin) and margin > 0:
        axes.set_ylim(later.min() - margin, later.max() + margin)


def _draw_gradient_norm(axes: Axes, run: Run) -> None:
    axes.plot(run.steps["step"], run.steps["grad_norm"], color="#4a4a4a", lw=0.9)
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=_tick_digits(top / bottom)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0, None)
    axes.set_xlabel("step")
    axes.set_ylabel("gradient norm, before clipping")
    panel_title(axes, "Gradient norm")


def _tick_digits(ratio: float) -> tuple[float, ...]:
    """Leading digits of the labels of a logarithmic axis."""
    if ratio < 10:
        return (1, 1.5, 2, 3, 4, 6, 8)
    return (1, 2, 5) if ratio < 1000 else (1,)


def _draw_time(axes: Axes, run: Run) -> None:
    parts = time_split(run)
    scale, unit = (1e3, "ms") if parts.sum() < 1 else (1.0, "s")
    values = parts.to_numpy() * scale
    rows = np.arange(len(parts))
    axes.barh(rows, values, height=0.55, color="#0072b2", alpha=0.85)
    for row, value, share in zip(rows, values, parts / parts.sum(), strict=True):
        words = f"{three_digits(value)} {unit}  ({100 * share:.0f} %)"
        axes.annotate(words if share >= 0.001 else "under 0.1 %", (value, row), (4, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_yticks(rows, parts.index)
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.6 * values.max())
    axes.grid(visible=False)
    axes.set_xlabel(f"mean time per step ({unit})")
    panel_title(axes, "Time of a step")


def time_split(run: Run) -> pd.Series:
    """Mean seconds per step: data, forward, backward, optimizer, and other (the rest)."""
    names = ("data", "forward", "backward", "optimizer")
    parts = {name: float(run.steps[f"seconds_{name}"].mean()) for name in names}
    other = float(run.steps["seconds"].mean()) - sum(parts.values())
    return pd.Series(parts | {"other": max(other, 0.0)}, name="seconds")
