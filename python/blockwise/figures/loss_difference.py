"""A figure for groups that hardly differ: their losses, and the differences paired by seed."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.sweep_tables import judged_configurations
from ..files.sweep import Sweep
from ..statistics.intervals import mean_interval
from .style import (
    LOSS_UNIT,
    GroupStyle,
    count_scale,
    empty_panel,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)
from .sweep import draw_loss_curves


def loss_difference_figure(sweep: Sweep) -> Figure:
    """Validation losses, and what every group adds to the baseline's loss of the same seed.

    Thin lines: seeds. Thick lines: their mean. Band: 95 % t interval of the mean difference. All
    from the best configuration of each group, on the seeds that confirm it where there are some.
    """
    with figure_style():
        figure, (left, right) = panels((9.6, 4.1), (1, 1))
        draw_loss_curves(left, sweep)
        differences = loss_differences(sweep)
        if differences.empty:
            empty_panel(right, "no seed of another group has a finished baseline")
        else:
            _draw_differences(right, differences, sweep)
    return figure


def loss_differences(sweep: Sweep) -> pd.DataFrame:
    """Validation loss minus the baseline's at the same step and seed; a row per evaluation.

    group; seed; step; tokens; difference (nats per token, negative is better). Only seeds that
    finished in the best configurations of both, and steps that both evaluated. Where a sweep has
    confirmations the seeds are theirs.
    """
    seeds = {member.id: member.seed for member in sweep.all_members}
    curves: dict[str, pd.DataFrame] = {}
    for _, row in judged_configurations(sweep).iterrows():
        runs = [sweep.runs[i].evaluations.assign(seed=seeds[i]) for i in row["ids"]]
        curves[row["group"]] = pd.concat(runs)[["seed", "step", "tokens", "loss"]]
    columns = ["group", "seed", "step", "tokens", "difference"]
    base = curves.pop(sweep.baseline, None)
    if base is None or not curves:
        return pd.DataFrame(columns=columns)
    pairs = [
        curve.merge(base, on=["seed", "step"], suffixes=("", "_base")).assign(group=group)
        for group, curve in curves.items()
    ]
    table = pd.concat(pairs, ignore_index=True)
    return table.assign(difference=table["loss"] - table["loss_base"])[columns]


def _draw_differences(axes: Axes, differences: pd.DataFrame, sweep: Sweep) -> None:
    scale, unit = count_scale(differences["tokens"].max())
    styles = group_styles(sweep.groups, sweep.baseline)
    axes.axhline(0, color=styles[sweep.baseline].color, lw=1)
    for group, rows in differences.groupby("group", sort=False):
        _draw_group(axes, rows.assign(tokens=rows["tokens"] / scale), str(group), styles[group])
    axes.set_xlim(0, None)
    axes.set_xlabel(f"training tokens{unit}")
    axes.set_ylabel(f"difference in loss ({LOSS_UNIT})")
    panel_title(axes, f"Difference to {sweep.baseline}", "paired by seed; thin: seeds; band: 95 %")
    legend_below(axes, 1)


def _draw_group(axes: Axes, rows: pd.DataFrame, group: str, style: GroupStyle) -> None:
    for _, seed in rows.groupby("seed"):
        axes.plot(
            seed["tokens"], seed["difference"], color=style.color, lw=0.6, alpha=0.7,
            label=f"_seed of {group}",
        )  # fmt: skip
    band = pd.DataFrame(
        [
            {"tokens": tokens, "mean": interval.mean, "low": interval.low, "high": interval.high}
            for tokens, differences in rows.groupby("tokens")["difference"]
            for interval in [mean_interval(differences.tolist())]
        ]
    )
    axes.plot(
        band["tokens"], band["mean"], color=style.color, marker=style.marker, ls=style.line, ms=4,
        mec="white", mew=0.6, label=group,
    )  # fmt: skip
    axes.fill_between(
        band["tokens"], band["low"], band["high"], color=style.color, alpha=0.14, lw=0
    )
