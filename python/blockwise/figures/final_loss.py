"""The panel of final losses: by learning rate where a sweep varies it, and the confirmed ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from ..analysis.sweep_tables import by_rank, configurations, confirmed_configurations
from ..files.sweep import LEARNING_RATE, Member, Sweep
from .style import (
    GREY,
    INK,
    LOSS_UNIT,
    GroupStyle,
    empty_panel,
    group_styles,
    legend_below,
    legend_columns,
    panel_title,
    rate_ticks,
)

NO_RUNS = "no run has finished"

_CONFIRMED = "confirmed"
# Of the labels of all columns together.
_TICK_CHARACTERS = 44


def draw_final_losses(axes: Axes, sweep: Sweep) -> None:
    """The panel of `final_loss_figure`, for figures that have it among others."""
    table = configurations(sweep)
    if not table["finished"].any():
        empty_panel(axes, NO_RUNS)
        return
    confirmed = confirmed_configurations(sweep)
    styles = group_styles(sweep.groups, sweep.baseline)
    position = _Positions(sweep, not confirmed.empty)
    chosen = _best_per_position(table, position)
    confirmed = confirmed.assign(at=[position.confirmed_at(group) for group in confirmed["group"]])
    for group, style in styles.items():
        rows = chosen[chosen["group"] == group].sort_values("at")
        _draw_seeds(axes, sweep, rows, style)
        _draw_means(axes, rows, style, group)
        rows = confirmed[(confirmed["group"] == group) & (confirmed["finished"] > 0)]
        if len(rows):
            _draw_seeds(axes, sweep, rows, style)
            _draw_confirmed(axes, rows, style, group)
    _fit_to_seeds(axes, sweep, pd.concat([chosen, confirmed]) if len(confirmed) else chosen)
    diverged = _draw_diverged(axes, sweep, position, styles)
    position.label(axes)
    axes.set_ylabel(f"final validation loss ({LOSS_UNIT})")
    title = "Final loss, chosen and confirmed" if len(confirmed) else "Final loss"
    panel_title(axes, title, "mean and 95 % interval over seeds; dots: seeds")
    handles = _loss_handles(styles, diverged, not confirmed.empty)
    most = legend_columns([str(handle.get_label()) for handle in handles])
    rows = -(-len(handles) // most)
    legend_below(axes, -(-len(handles) // rows), handles=handles)


class _Positions:
    """Where a configuration goes on the horizontal axis: its learning rate, or else its group.

    Groups stand a little beside each other, so that intervals do not hide each other. What is
    confirmed stands to the right: of all rates, or of what its group chose by.
    """

    def __init__(self, sweep: Sweep, confirmed: bool) -> None:
        rates = {member.learning_rate for member in sweep.members}
        self.groups = sweep.groups
        self.rates = sorted(rate for rate in rates if rate > 0)
        self.by_rate = len(self.rates) > 1 and len(self.rates) == len(rates)
        self.confirmed = confirmed
        gap = float(min(np.diff(np.log(self.rates)), default=1.0))
        span = np.log(self.rates[-1] / self.rates[0]) if self.by_rate else 0.0
        # The column of what is confirmed takes a quarter of the width.
        wider = 1.35 if confirmed else 1.0
        self.pitch = wider * min(0.16 * gap, 0.6 * gap / len(self.groups), 0.05 * span)
        if self.by_rate:
            outermost = 0.5 * (len(self.groups) + 1) * self.pitch
            edge = np.exp(max(0.3 * gap + self.pitch, 0.12 * gap + outermost, 0.04 * span))
            self.ends = (self.rates[0] / edge, self.rates[-1] * edge)
            self.width = float(np.log(self.ends[1] / self.ends[0]))

    def at(self, group: str, rate: float) -> float:
        index = self.groups.index(group)
        if not self.by_rate:
            return index - (0.18 if self.confirmed else 0.0)
        return float(rate * np.exp(self._shift(group) * self.pitch))

    def confirmed_at(self, group: str) -> float:
        if not self.by_rate:
            return self.groups.index(group) + 0.22
        pitch = min(0.075, 0.24 / len(self.groups)) * self.width
        return float(self._column() * np.exp(self._shift(group) * pitch))

    def of(self, member: Member) -> float:
        if member.confirmed:
            return self.confirmed_at(member.group)
        return self.at(member.group, member.learning_rate)

    def label(self, axes: Axes) -> None:
        if not self.by_rate:
            # What does not fit beside its neighbours the legend names.
            fit = max(map(len, self.groups)) * len(self.groups) <= _TICK_CHARACTERS
            axes.set_xticks(range(len(self.groups)), self.groups if fit else [""] * len(self.groups))
            axes.set_xlim(-0.6, len(self.groups) - 0.4)
            return
        axes.set_xscale("log")
        axes.set_xlabel("peak learning rate")
        axes.set_xlim(*self.ends)
        rate_ticks(axes, self.rates)
        if self.confirmed:
            self._add_column(axes)

    def _shift(self, group: str) -> float:
        return self.groups.index(group) - (len(self.groups) - 1) / 2

    def _column(self) -> float:
        """The middle of what is confirmed."""
        return float(self.ends[1] * np.exp(0.17 * self.width))

    def _add_column(self, axes: Axes) -> None:
        """Room behind the rates, which end at their own edge, on a ground of another colour."""
        right = self.ends[1] * np.exp(0.34 * self.width)
        ticks = [tick for tick in axes.get_xticks() if self.ends[0] <= tick <= self.ends[1]]
        names = axes.xaxis.get_major_formatter().format_ticks(ticks)
        minor = [
            tick for tick in axes.get_xticks(minor=True) if self.ends[0] <= tick <= self.ends[1]
        ]
        axes.set_xticks([*ticks, self._column()], [*names, _CONFIRMED])
        axes.set_xticks(minor, minor=True)
        axes.axvspan(self.ends[1], right, color="#f4f4f4", lw=0, zorder=0)
        axes.set_xlim(self.ends[0], right)


def _best_per_position(table: pd.DataFrame, position: _Positions) -> pd.DataFrame:
    rates = table.get(LEARNING_RATE, pd.Series(np.nan, index=table.index))
    at = [position.at(group, rate) for group, rate in zip(table["group"], rates, strict=True)]
    table = table.assign(at=at)[table["finished"] > 0]
    return by_rank(table).drop_duplicates(["group", "at"])


def _final_losses(sweep: Sweep, row: pd.Series) -> list[float]:
    return [float(sweep.runs[member].evaluations["loss"].iloc[-1]) for member in row["ids"]]


def _draw_seeds(axes: Axes, sweep: Sweep, rows: pd.DataFrame, style: GroupStyle) -> None:
    """A dot per finished run, a few points to the left of the mean."""
    figure = axes.get_figure()
    assert figure is not None
    beside = axes.transData + ScaledTranslation(-5.5 / 72, 0, figure.dpi_scale_trans)
    for _, row in rows.iterrows():
        losses = _final_losses(sweep, row)
        axes.plot(
            [row["at"]] * len(losses), losses, "o", ms=2.8, mew=0, color=style.color, alpha=0.55,
            transform=beside,
        )  # fmt: skip


def _draw_means(axes: Axes, rows: pd.DataFrame, style: GroupStyle, group: str) -> None:
    errors = (rows["high"] - rows["mean"]).to_numpy()
    axes.errorbar(
        rows["at"], rows["mean"], yerr=errors, color=style.color, marker=style.marker,
        ls=style.line, ms=5, mec="white", mew=0.7, lw=1, elinewidth=1.2, capsize=2.5, capthick=1.2,
        label=group,
    )  # fmt: skip


def _draw_confirmed(axes: Axes, rows: pd.DataFrame, style: GroupStyle, group: str) -> None:
    errors = (rows["high"] - rows["mean"]).to_numpy()
    axes.errorbar(
        rows["at"], rows["mean"], yerr=errors, color=style.color, marker=style.marker, ls="",
        ms=6.5, mec=INK, mew=1.1, elinewidth=1.8, capsize=3.5, capthick=1.8,
        label=f"_{group} {_CONFIRMED}",
    )  # fmt: skip


def _fit_to_seeds(axes: Axes, sweep: Sweep, rows: pd.DataFrame) -> None:
    """Ends the loss axis a little outside of the seeds: the interval of two may be so wide that
    nothing else is seen."""
    losses = [loss for _, row in rows.iterrows() for loss in _final_losses(sweep, row)]
    lowest, highest = min(losses), max(losses)
    most = 0.5 * (highest - lowest)
    if not np.isfinite(most) or most == 0:
        return
    bottom = max(np.nanmin([lowest, rows["low"].min()]), lowest - most)
    top = min(np.nanmax([highest, rows["high"].max()]), highest + most)
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)


def _draw_diverged(
    axes: Axes, sweep: Sweep, position: _Positions, styles: dict[str, GroupStyle]
) -> bool:
    """Crosses at the top edge, next to each other where several seeds diverged."""
    members = [member for member in sweep.all_members if sweep.diverged(member)]
    rows: dict[float, int] = {}
    for member in members:
        at = position.of(member)
        height = 0.985 - 0.045 * rows.setdefault(at, 0)
        rows[at] += 1
        axes.plot(
            at, height, "x", ms=5, mew=1.4, color=styles[member.group].color, clip_on=False,
            transform=axes.get_xaxis_transform(), label="_diverged",
        )  # fmt: skip
    if rows:
        _leave_room_on_top(axes, 0.045 * max(rows.values()) + 0.03)
    return bool(rows)


def _leave_room_on_top(axes: Axes, fraction: float) -> None:
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + fraction * (top - bottom))


def _loss_handles(
    styles: dict[str, GroupStyle], diverged: bool, confirmed: bool
) -> list[Line2D]:
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, ls=style.line, ms=5, mec="white",
               mew=0.7, lw=1.2, label=group)
        for group, style in styles.items()
    ]  # fmt: skip
    if confirmed:
        handles.append(
            Line2D([], [], ls="", marker="o", ms=6.5, color=GREY, mec=INK, mew=1.1, label=_CONFIRMED)
        )
    if diverged:
        handles.append(
            Line2D([], [], ls="", marker="x", ms=5, mew=1.4, color=GREY, label="diverged")
        )
    return handles
