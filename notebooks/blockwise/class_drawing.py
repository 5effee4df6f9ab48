"""A figure of how the blocks between neurons fade as the number of classes grows."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .style import GREY, figure_style, group_styles, legend_below, panel_title, panels


def class_figure(table: pd.DataFrame) -> Figure:
    """The ratio of `class_table` against the number of classes, both logarithmic, with 95 %
    intervals over seeds; the dashed line is 1 / (C - 1)."""
    lines = list(table.groupby(["model", "tensor"], sort=False))
    names = [f"{model}: {tensor}" for (model, tensor), _ in lines]
    styles = group_styles(names, names[0])
    with figure_style():
        figure, (axes,) = panels((4.8, 3.6), (1,))
        for name, (_, rows) in zip(names, lines, strict=True):
            style = styles[name]
            axes.errorbar(
                rows["classes"], rows["ratio"], rows["half_width"],
                color=style.color, marker=style.marker, markersize=4, label=name,
            )  # fmt: skip
        law = table.drop_duplicates("classes").sort_values("classes")
        axes.plot(law["classes"], law["law"], color=GREY, linestyle="--", label="1 / (C - 1)")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("classes")
        panel_title(axes, "Blocks between neurons", "norm over that of a neuron's own block")
        legend_below(axes, 1)
    return figure
