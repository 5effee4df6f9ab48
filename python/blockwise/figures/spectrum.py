"""Figures of eigenvalue distributions: one block in detail, and all blocks side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..analysis.spectral_density import cumulative_band, exact_eigenvalues, spectral_measure
from ..files.spectra import Spectrum
from .density import BULK_COLOR, OUTLIER_COLOR, DensityPicture, density_picture, draw_density
from .eigenvalue_axis import EigenvalueAxis
from .style import (
    GREY,
    INK,
    empty_panel,
    figure_style,
    footnote,
    legend_below,
    panel_title,
    panels,
    short_name,
    three_digits,
)

EIGENVALUE = "eigenvalue"
_COLUMNS = 5
_MOST_BLOCKS = 60
_PANEL_NAME = 26  # letters over a small panel
_MOST_EIGENVALUES = 8  # at each end


def spectrum_figure(spectrum: Spectrum, block: str | int = 0, step: int | None = None) -> Figure:
    """Density, cumulative distribution and outermost eigenvalues of one block at one step.

    Left: the bulk, broadened as `split_outliers` says, and outliers as sticks (`DensityPicture`).
    Middle: `cumulative_band`. Right: eigenvalues with residuals, which bound their errors.
    """
    step = spectrum.measured_step(step)
    name = short_name(spectrum.blocks["name"].iloc[spectrum.block_id(block)])
    measure = spectral_measure(spectrum, block, step)
    ends = eigenvalue_ends(spectrum, block, step)
    ratios = ([] if measure.empty else [1.2, 1.0]) + ([] if ends.empty else [0.8])
    with figure_style():
        figure, axes = panels((0.6 + 3.6 * max(sum(ratios), 1.0), 3.8), ratios or [1])
        axis = None
        if not measure.empty:
            picture = density_picture(measure)
            axis = picture.axis
            _draw_density(axes[0], picture, f"Spectrum of {name} {spectrum.subject(step)}")
            _draw_cumulative(axes[1], spectrum, block, step, axis)
        if not ends.empty:
            _draw_ends(axes[-1], ends, axis)
        if not ratios:
            empty_panel(axes[0], "neither a quadrature nor eigenvalues measured")
        _say_status(figure, spectrum)
    return figure


def block_spectra_figure(
    spectrum: Spectrum, step: int | None = None, blocks: Sequence[str | int] | None = None
) -> Figure:
    """The densities of all blocks, or of `blocks`, each on an axis of its own.

    Drawn as in `spectrum_figure`. Of more than 60 blocks, the first 60.
    """
    step = spectrum.measured_step(step)
    chosen = [spectrum.block_id(block) for block in blocks or range(len(spectrum.blocks))]
    shown = chosen[:_MOST_BLOCKS]
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    with figure_style():
        size = (2.25 * max(columns, 3), 1.5 * rows + 0.8)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06))
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, block in zip(grid, shown, strict=False):
            _draw_small(axes, spectrum, block, step)
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        count = f"{len(shown)} of {len(chosen)}" if len(shown) < len(chosen) else f"{len(chosen)}"
        title = f"Spectra of {count} blocks {spectrum.subject(step)}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.supylabel("density", fontsize=8.5)
        unfinished = "" if spectrum.status == "finished" else f"{spectrum.status}; "
        words = "x: eigenvalue, linear around zero; sticks: outliers; max: the largest eigenvalue"
        footnote(figure, unfinished + words)
    return figure


def _say_status(figure: Figure, spectrum: Spectrum) -> None:
    if spectrum.status != "finished":
        footnote(figure, spectrum.status + (f": {spectrum.message}" if spectrum.message else ""))


# ---- density -----------------------------------------------------------------------------------


def _draw_density(axes: Axes, picture: DensityPicture, title: str) -> None:
    draw_density(axes, picture, labels=4, room=4)
    axes.set_xlabel(EIGENVALUE)
    axes.set_ylabel("density")
    how = f"Gaussians of σ = {three_digits(picture.sigma)}; sticks as high as their peaks"
    panel_title(axes, title, how)
    legend_below(axes, 2)


def _draw_small(axes: Axes, spectrum: Spectrum, block: int, step: int) -> None:
    name = short_name(spectrum.blocks["name"].iloc[block], _PANEL_NAME)
    axes.set_title(name, loc="left", fontsize=7.5, fontweight="bold", pad=3)
    measure = spectral_measure(spectrum, block, step)
    if measure.empty:
        axes.text(0.5, 0.5, "no quadrature", ha="center", color=GREY, transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    picture = density_picture(measure)
    draw_density(axes, picture, labels=2, room=20)
    axes.tick_params(labelsize=6.5)
    axes.text(0.98, 0.96, f"max {three_digits(picture.largest)}", ha="right", va="top",
              fontsize=6.5, color=INK, transform=axes.transAxes)  # fmt: skip


# ---- cumulative distribution -------------------------------------------------------------------


def _draw_cumulative(
    axes: Axes, spectrum: Spectrum, block: str | int, step: int, axis: EigenvalueAxis
) -> None:
    exact = exact_eigenvalues(spectrum, block, step)
    measured = not spectrum.rows("quadrature", step, block).empty
    if measured:
        _draw_band(axes, spectrum, block, step, axis)
    if len(exact):
        x = np.concatenate([[axis.low], exact, [axis.high]])
        shares = np.concatenate([[0], np.arange(1, len(exact) + 1), [len(exact)]]) / len(exact)
        axes.step(x, shares, where="post", color=INK, lw=0.9, ls=":" if measured else "-",
                  label="all eigenvalues")  # fmt: skip
    axes.set_ylim(-0.02, 1.02)
    axis.apply(axes)
    axes.set_xlabel(EIGENVALUE)
    axes.set_ylabel("share of eigenvalues at or below")
    how = "band: few probes and few Lanczos steps" if measured else "exact"
    panel_title(axes, "Cumulative distribution", how)
    legend_below(axes, 3)


def _draw_band(
    axes: Axes, spectrum: Spectrum, block: str | int, step: int, axis: EigenvalueAxis
) -> None:
    nodes = spectral_measure(spectrum, block, step)["node"]
    band = cumulative_band(spectrum, block, step, [axis.low, *nodes, axis.high])
    axes.fill_between(
        band["x"], band["low"], band["high"], step="post", color=BULK_COLOR, alpha=0.18, lw=0,
        label="95 % band",
    )  # fmt: skip
    axes.step(band["x"], band["mean"], where="post", color=BULK_COLOR, lw=1.3, label="quadrature")


# ---- the ends ----------------------------------------------------------------------------------


def eigenvalue_ends(
    spectrum: Spectrum, block: str | int, step: int, most: int = _MOST_EIGENVALUES
) -> pd.DataFrame:
    """Up to `most` eigenvalues of each end, descending: label, value, error (their residual),
    converged.

    error: the confirmed residual ||H u - value u||, or its bound where it was not confirmed. An
    eigenvalue of H is within it, which is that of the label only where it has converged; otherwise
    the value bounds that from inside the spectrum.
    """
    rows = spectrum.rows("eigenvalues", step, block).copy()
    if len(exact_eigenvalues(spectrum, block, step)) > 1:  # counted from one end only
        half = rows["index"] >= (len(rows) + 1) // 2
        rows.loc[half, "index"] -= len(rows)
    rows = rows[rows["index"].between(-most, most - 1)]
    place = rows["index"].where(rows["index"] >= 0, 2 * most + rows["index"])
    rows = rows.loc[place.sort_values().index]
    labels = [_ordinal(i, "largest") if i >= 0 else _ordinal(-i - 1, "smallest")
              for i in rows["index"]]  # fmt: skip
    error = rows["residual"].fillna(rows["residual_bound"])
    columns = {"label": labels, "value": rows["value"], "error": error}
    return pd.DataFrame(columns | {"converged": rows["converged"] != 0})


def _ordinal(place: int, end: str) -> str:
    counts = {0: "", 1: "2nd ", 2: "3rd "}
    return counts.get(place, f"{place + 1}th ") + end


def _draw_ends(axes: Axes, ends: pd.DataFrame, axis: EigenvalueAxis | None) -> None:
    at = np.arange(len(ends))
    axes.errorbar(
        ends["value"], at, xerr=ends["error"], fmt="o", ms=4, mec="white", mew=0.6,
        color=OUTLIER_COLOR, ecolor=INK, elinewidth=1, capsize=2,
    )  # fmt: skip
    for row, (label, value, error, converged) in enumerate(ends.itertuples(index=False)):
        words = f"{value:.4g}" + (f" ± {error:.1g}" if error > 0 else "")
        if not converged:
            words = f"{'≥' if 'largest' in label else '≤'} {value:.4g}, not converged"
        axes.annotate(words.replace("-", "−"), (1, row), (4, 0), ("axes fraction", "data"),
                      "offset points", va="center", fontsize=7)  # fmt: skip
    axes.set_yticks(at, ends["label"], fontsize=7)
    axes.tick_params("y", length=0)
    axes.set_ylim(len(ends) - 0.4, -0.6)
    low, high = ends["value"].min(), ends["value"].max()
    linear = axis.linear if axis and axis.linear else ends["value"].abs().max()
    EigenvalueAxis.around(low, high, (-linear, linear)).apply(axes, 2)
    axes.set_xlabel(EIGENVALUE)
    panel_title(axes, "Both ends", "bars: residuals, which bound the errors")
