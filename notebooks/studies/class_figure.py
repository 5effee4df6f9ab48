"""A figure of how the blocks between neurons fade as the number of classes grows."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from blockwise.figures.style import (
    GREY,
    figure_style,
    group_styles,
    legend_below,
    panel_title,
    panels,
)

_BESIDE = 1.09  # from the mark of one line to that of the next


def class_figure(table: pd.DataFrame) -> Figure:
    """The ratio of `class_table` against the number of classes, both logarithmic, with 95 %
    intervals over seeds; the dashed line is 1 / (C - 1).

    Of one number of classes the marks stand a little beside each other, since equal ones would hide
    each other.
    """
    lines = list(table.groupby(["model", "tensor"], sort=False))
    names = [f"{model}: {tensor}" for (model, tensor), _ in lines]
    styles = group_styles(names, names[0])
    with figure_style():
        figure, (axes,) = panels((4.8, 3.6), (1,))
        for place, (name, (_, rows)) in enumerate(zip(names, lines, strict=True)):
            style = styles[name]
            beside = _BESIDE ** (place - (len(names) - 1) / 2)
            axes.errorbar(
                rows["classes"] * beside, rows["ratio"], rows["half_width"], color=style.color,
                marker=style.marker, ls="", markersize=5, elinewidth=1.2, capsize=2.5, label=name,
            )  # fmt: skip
        law = table.drop_duplicates("classes").sort_values("classes")
        axes.plot(
            law["classes"], law["law"], color=GREY, linestyle="--", lw=1, label="1 / (C - 1)",
            zorder=1,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("classes")
        axes.set_ylabel("ratio of norms")
        axes.xaxis.set_minor_locator(NullLocator())
        how = "norm over a neuron's own block; bars: 95 % over seeds"
        panel_title(axes, "Blocks between neurons", how)
        legend_below(axes, 1)
    return figure
