"""Figures of a sweep: loss curves, final losses by learning rate, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.sweep_tables import configurations, judged_configurations, loss_band, run_status
from ..files.run import Run
from ..files.sweep import LEARNING_RATE, Member, Sweep
from .final_loss import NO_RUNS, draw_final_losses
from .style import (
    INK,
    LOSS_UNIT,
    GroupStyle,
    byte_scale,
    count_scale,
    empty_panel,
    figure_style,
    footnote,
    group_styles,
    in_lines,
    legend_below,
    panel_title,
    panels,
    three_digits,
)

_NOT_STARTED = "no run has started yet"


def sweep_figure(sweep: Sweep) -> Figure:
    """Loss curves, final loss by learning rate and memory, as far as the runs have got."""
    finished = bool(configurations(sweep)["finished"].any())
    drawn: list[Callable[[Axes, Sweep], None]] = []
    drawn += [draw_loss_curves, draw_final_losses] if finished else []
    drawn += [_draw_memory] if sweep.runs else []
    with figure_style():
        width = 0.3 + 3.7 * max(len(drawn), 1)
        figure, panel = panels((width, _height(4.1, sweep)), [1] * max(len(drawn), 1))
        for axes, draw in zip(panel, drawn, strict=False):
            draw(axes, sweep)
        if not drawn:
            empty_panel(panel[0], f"{NO_RUNS}: {_NOT_STARTED}")
        _note_unfinished(figure, sweep)
    return figure


def loss_curve_figure(sweep: Sweep) -> Figure:
    """Validation loss of each group's best configuration over training tokens.

    Line: mean over the finished seeds; where the sweep has confirmations, theirs, which chose
    nothing. Band: 95 % t interval. The axis begins below the loss of the
    untrained model, which would flatten everything else, as would curves that rise above it.
    """
    return _single_panel(draw_loss_curves, sweep)


def final_loss_figure(sweep: Sweep) -> Figure:
    """Final validation loss against the peak learning rate.

    Dots: seeds. Large marks and bars: mean and 95 % t interval over the finished seeds. Diverged
    runs are crosses at the top edge. Confirmations of the best configurations, on seeds that chose
    nothing, stand in a column of their own, with a dark frame. The axis goes by means and seeds:
    longer bars leave the panel. Where configurations of a group differ in more than the
    learning rate, the best of them at each rate is drawn. A sweep that does not vary the learning
    rate gets one column per group.
    """
    return _single_panel(draw_final_losses, sweep)


def memory_figure(sweep: Sweep) -> Figure:
    """Bytes of parameters, gradients and every kind of optimizer state, stacked, for each group."""
    return _single_panel(_draw_memory, sweep)


def _single_panel(draw: Callable[[Axes, Sweep], None], sweep: Sweep) -> Figure:
    with figure_style():
        figure, (axes,) = panels((5.2, _height(3.8, sweep)), (1,))
        draw(axes, sweep)
    return figure


def _height(usual: float, sweep: Sweep) -> float:
    """Inches; a legend, and memory's bars, have a line for every group."""
    return usual + 0.2 * max(0, len(sweep.groups) - 4)


def _styles(sweep: Sweep) -> dict[str, GroupStyle]:
    return group_styles(sweep.groups, sweep.baseline)


def _note_unfinished(figure: Figure, sweep: Sweep) -> None:
    """A figure of an incomplete sweep says so."""
    counts = run_status(sweep)["status"].value_counts()
    if set(counts.index) <= {"finished"}:
        return
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    footnote(figure, f"{sweep.name}: of {counts.sum()} runs {words}")


# (a) loss curves


def draw_loss_curves(axes: Axes, sweep: Sweep) -> None:
    """The panel of `loss_curve_figure`, for figures that have it among others."""
    best = judged_configurations(sweep)
    if best.empty:
        empty_panel(axes, NO_RUNS)
        return
    styles = _styles(sweep)
    bands = {
        row["group"]: loss_band([sweep.runs[i] for i in row["ids"]]) for _, row in best.iterrows()
    }
    scale, unit = count_scale(max(band["tokens"].max() for band in bands.values()))
    for _, row in best.iterrows():
        band, style = bands[row["group"]], styles[row["group"]]
        tokens = band["tokens"] / scale
        axes.plot(
            tokens, band["mean"], color=style.color, marker=style.marker, ls=style.line, ms=4,
            mec="white", mew=0.6, label=_curve_label(row, bool(best["confirmed"].any())),
        )  # fmt: skip
        axes.fill_between(tokens, band["low"], band["high"], color=style.color, alpha=0.18, lw=0)
    _skip_untrained(axes, list(bands.values()))
    axes.set_xlim(0, None)
    axes.set_xlabel(f"training tokens{unit}")
    axes.set_ylabel(f"validation loss ({LOSS_UNIT})")
    if best["confirmed"].any():
        panel_title(
            axes, "Validation loss on seeds that chose nothing",
            "best configuration, confirmed: mean and 95 % interval",
        )  # fmt: skip
    else:
        panel_title(
            axes, "Validation loss", "best configuration: mean and 95 % interval over seeds"
        )
    legend_below(axes, 1)


def _curve_label(row: pd.Series, others_confirmed: bool) -> str:
    rate = row.get(LEARNING_RATE)
    words = [] if rate is None or pd.isna(rate) else [f"learning rate {rate:g}"]
    words.append(f"{row['finished']} seed" + ("s" if row["finished"] > 1 else ""))
    if others_confirmed and not row["confirmed"]:
        words.append("not confirmed")
    return f"{row['group']} ({', '.join(words)})"


def _skip_untrained(axes: Axes, bands: Sequence[pd.DataFrame]) -> None:
    """Ends the loss axis a little above where the curves are after the first evaluation.

    The axis goes by the means: the band of two seeds may be so wide that nothing else is seen. Means
    above the untrained model's leave it at the top: next to them all others would be one line.
    """
    trained = pd.concat([band[band["step"] > 0] for band in bands])
    untrained = min((band["mean"].iloc[0] for band in bands if band["step"].iloc[0] == 0), default=np.inf)
    below = trained["mean"][trained["mean"] <= untrained]
    lowest, highest = trained["mean"].min(), (trained["mean"] if below.empty else below).max()
    if not np.isfinite(highest - lowest) or highest == lowest:
        return
    most = 0.25 * (highest - lowest)
    low, high = trained["low"].min(), trained["high"].max()
    bottom = lowest - min(most, max(lowest - low, 0.0) if np.isfinite(low) else 0.0)
    top = highest + min(most, max(high - highest, 0.0) if np.isfinite(high) else 0.0)
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)


# (b) memory

# Two kinds of grey for what every optimizer needs, colours for what it adds; and the colour of
# text on them.
_MEMORY_COLORS = (
    ("#737373", "white"), ("#bdbdbd", INK), ("#0072b2", "white"), ("#e69f00", INK),
    ("#009e73", "white"), ("#cc79a7", INK), ("#56b4e9", INK),
)  # fmt: skip


def _draw_memory(axes: Axes, sweep: Sweep) -> None:
    memory = _group_memory(sweep)
    if memory.empty:
        empty_panel(axes, _NOT_STARTED)
        return
    scale, unit = byte_scale(memory.sum(axis=1).max())
    sizes = memory / scale
    longest = sizes.sum(axis=1).max()
    left = np.zeros(len(sizes))
    rows = np.arange(len(sizes))
    for (color, ink), kind in zip(_MEMORY_COLORS * 3, sizes.columns, strict=False):
        bars = axes.barh(rows, sizes[kind], left=left, height=0.46, color=color, label=kind,
                         edgecolor="white", lw=0.6)  # fmt: skip
        words = [three_digits(size) if size > 0.12 * longest else "" for size in sizes[kind]]
        axes.bar_label(bars, words, label_type="center", fontsize=7.5, color=ink)
        left += sizes[kind].to_numpy()
    for row, total in zip(rows, left, strict=True):
        share = "" if row == 0 else f"  ({100 * total / left[0]:.0f} %)"
        axes.annotate(
            three_digits(total) + share, (total, row), (4, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    axes.set_yticks(rows, [in_lines(str(group), 16) for group in sizes.index])
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * longest)
    axes.grid(visible=False)
    axes.set_xlabel(f"memory ({unit})")
    panel_title(axes, "Memory", "exact bytes of the tensors that last through training")
    legend_below(axes, 2)


def _group_memory(sweep: Sweep) -> pd.DataFrame:
    """Bytes by group (rows) and kind (columns), of each group's first run that exists."""
    first: dict[str, Member] = {}
    for member in sweep.members:
        if member.id in sweep.runs:
            first.setdefault(member.group, member)
    table = {group: _kinds(sweep.runs[first[group].id]) for group in sweep.groups if group in first}
    return pd.DataFrame.from_dict(table, orient="index").fillna(0.0)


def _kinds(run: Run) -> dict[str, float]:
    state = {
        str(name).removeprefix("state/"): float(size)
        for name, size in run.memory.items()
        if str(name).startswith("state/")
    }
    always = {name: float(run.memory[name]) for name in ("parameters", "gradients")}
    return always | state
