"""A figure of curvature during training: extreme eigenvalues and trace of every block."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ..files.spectra import Spectrum
from .eigenvalue_axis import EigenvalueAxis
from .style import (
    GroupStyle,
    empty_panel,
    figure_style,
    footnote,
    group_styles,
    panel_title,
    short_name,
)

_FEW = 8  # blocks that the palette tells apart
_TITLES = {
    "largest": "Largest eigenvalue", "smallest": "Smallest eigenvalue", "trace": "Trace",
}  # fmt: skip
_MOST_NAMES = 48
_NAMES_PER_COLUMN = 24
_ONE_SIZE = 30.0  # values within this factor are drawn on a linear axis
_SMALLEST = 1e-5  # of the largest value: smaller ones are drawn as about zero


def spectrum_course_figure(spectrum: Spectrum) -> Figure:
    """Largest and smallest eigenvalue and trace of every block against the training step.

    An axis whose values differ by more than a factor of 30 is logarithmic, with a linear part
    around zero where signs differ. Bars of the trace: its standard error.
    """
    course = spectrum_course(spectrum)
    names = spectrum.blocks["name"].tolist()
    legends = -(-len(names) // _NAMES_PER_COLUMN) if len(names) <= _MOST_NAMES else 0
    with figure_style():
        size = (10.4 + 1.5 * legends, 3.8)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
        measured = [column for column in _TITLES if np.isfinite(course[column]).any()]
        axes = list(figure.subplots(1, max(len(measured), 1), squeeze=False)[0])
        if not measured:
            empty_panel(axes[0], "neither eigenvalues nor traces measured")
            return figure
        for panel, column in zip(axes, measured, strict=True):
            _draw_course(panel, course, column, _styles(len(names)), names)
        handles = axes[0].get_legend_handles_labels()
        if legends:
            figure.legend(*handles, loc="outside right upper", fontsize=6.5, ncols=legends)
        else:
            footnote(figure, f"{len(names)} blocks, from dark (first) to bright (last)")
    return figure


def spectrum_course(spectrum: Spectrum) -> pd.DataFrame:
    """A row per step and block: step; block; block_name; largest, smallest (eigenvalues; where
    none were asked for, the outermost nodes of the quadrature); trace, trace_error, trace_low,
    trace_high (standard error and 95 % interval; where it was not asked for, the quadrature's trace
    without them). NaN: not measured. Ends that have not converged are bounds from inside.
    """
    keys = ["step", "block"]
    index = pd.MultiIndex.from_product([spectrum.steps, range(len(spectrum.blocks))], names=keys)
    ends = spectrum.eigenvalues.groupby(keys)["value"].agg(["max", "min"]).reindex(index)
    nodes = spectrum.quadrature.groupby(keys)["node"].agg(["max", "min"]).reindex(index)
    errors = ["trace_error", "trace_low", "trace_high"]
    traces = spectrum.summary.groupby(keys)[["trace", *errors]].last().reindex(index)
    course = pd.DataFrame(
        {
            "largest": ends["max"].fillna(nodes["max"]),
            "smallest": ends["min"].fillna(nodes["min"]),
            "trace": traces["trace"].fillna(_quadrature_traces(spectrum).reindex(index)),
            **{name: traces[name] for name in errors},
        }
    ).reset_index()
    names = spectrum.blocks["name"]
    course.insert(2, "block_name", [names.iloc[block] for block in course["block"]])
    return course


def _quadrature_traces(spectrum: Spectrum) -> pd.Series:
    """`quadrature_trace` of all steps and blocks."""
    table = spectrum.quadrature
    products = (table["node"] * table["weight"]).rename("product")
    rows = pd.concat([table[["step", "block", "probe"]], products], axis=1)
    sums = rows.groupby(["step", "block", "probe"])["product"].sum()
    means = sums.groupby(["step", "block"]).mean()
    elements = spectrum.blocks["elements"].to_numpy()
    blocks = means.index.get_level_values("block").to_numpy(dtype=int)
    return pd.Series(means.to_numpy() * elements[blocks], index=means.index)


def _styles(count: int) -> list[GroupStyle]:
    """A colour and marker per block: the palette for few, a scale in their order for many."""
    if count <= _FEW:
        return list(group_styles([str(i) for i in range(count)], "").values())
    shades = colormaps["viridis"](np.linspace(0, 0.9, count))
    markers = "os^Dv"
    return [GroupStyle(to_hex(shade), markers[i % 5]) for i, shade in enumerate(shades)]


def _draw_course(
    axes: Axes, course: pd.DataFrame, column: str, styles: list[GroupStyle], names: list[str]
) -> None:
    for block, rows in course.groupby("block"):
        style = styles[int(str(block))]
        axes.errorbar(
            rows["step"], rows[column], yerr=_bars(rows) if column == "trace" else None,
            color=style.color, marker=style.marker, ms=3, mec="white", mew=0.4, lw=1,
            elinewidth=0.8, label=short_name(names[int(str(block))]),
        )  # fmt: skip
    _scale(axes, course[column].to_numpy(dtype=float))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("training step")
    axes.set_ylabel("trace" if column == "trace" else "eigenvalue")
    panel_title(axes, _TITLES[column], "bars: 95 %" if column == "trace" else "of each block")


def _bars(rows: pd.DataFrame) -> np.ndarray:
    """Lengths down and up [2, rows]."""
    ends = (rows["trace"] - rows["trace_low"], rows["trace_high"] - rows["trace"])
    return np.array(ends, dtype=float)


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Linear for values of about one size, else logarithmic, around zero where signs differ."""
    values = values[np.isfinite(values)]
    sizes = np.abs(values)
    small = max(float(np.quantile(sizes, 0.1)), _SMALLEST * float(sizes.max()))
    if sizes.max() <= _ONE_SIZE * small:
        return
    if values.min() > 0:
        axes.set_yscale("log")
    else:
        axis = EigenvalueAxis.around(values.min(), values.max(), (-small, small))
        axis.apply(axes, vertical=True)
