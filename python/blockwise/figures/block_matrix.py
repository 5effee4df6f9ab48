"""Heat maps with a cell per pair of blocks: their couplings, and the distances of their spectra."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..files.spectra import Spectrum
from .style import empty_panel, figure_style, footnote, panel_title, short_name

HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#f4f9ff", "#bcd7ec", "#5b9fce", "#0b5a9c", "#062a57"]
)
MISSING_COLOR = "#e6e6e6"
_DECADES = 6  # at most on a logarithmic colour scale
_MOST_NAMES = 64
_CELL_INCHES = 0.17


def coupling_figure(spectrum: Spectrum, step: int | None = None) -> Figure:
    """Normalised couplings of every two blocks, on a logarithmic colour scale: `coupling_matrix`.

    1 is as large as the diagonal blocks; a Hessian that is block diagonal has nothing but its
    diagonal.
    """
    step = spectrum.measured_step(step)
    values = coupling_matrix(spectrum, step)
    positive = values[np.isfinite(values) & (values > 0)]
    norm = None
    if len(positive):
        top = float(positive.max())
        bottom = max(float(positive.min()), top * 10.0**-_DECADES)
        norm = LogNorm(min(bottom, top / 10), top)
    label = "‖H$_{ij}$‖ / √(‖H$_{ii}$‖ ‖H$_{jj}$‖), Frobenius norms"
    return _heat_map(spectrum, np.where(values > 0, values, np.nan), norm, label,
                     f"Couplings of blocks, step {step}", "no couplings measured")  # fmt: skip


def distance_figure(spectrum: Spectrum, step: int | None = None) -> Figure:
    """Jensen-Shannon distances between the spectra of every two blocks: `distance_matrix`."""
    step = spectrum.measured_step(step)
    values = distance_matrix(spectrum, step)
    finite = values[np.isfinite(values)]
    norm = Normalize(0, max(float(finite.max()), 1e-3)) if len(finite) else None
    label = "Jensen-Shannon divergence (nats; disjoint: 0.69)"
    return _heat_map(spectrum, values, norm, label, f"Distances of spectra, step {step}",
                     "no distances measured (distances: true)")  # fmt: skip


def coupling_matrix(spectrum: Spectrum, step: int) -> np.ndarray:
    """||H_ij||_F / sqrt(||H_ii||_F ||H_jj||_F) [blocks, blocks]; NaN where not measured.

    Of a positive semidefinite matrix at most 1. Diagonal norms that are not among the couplings are
    the summary's squared_frobenius.
    """
    squares = _symmetric(spectrum, spectrum.rows("couplings", step), "squared_norm")
    if not np.isfinite(squares).any():
        return squares
    summary = spectrum.rows("summary", step)
    diagonal = np.diag(squares).copy()
    for block, square in zip(summary["block"], summary["squared_frobenius"], strict=True):
        diagonal[block] = square if np.isnan(diagonal[block]) else diagonal[block]
    np.fill_diagonal(squares, diagonal)
    diagonal[~(diagonal > 0)] = np.nan
    norms = np.sqrt(np.maximum(squares, 0))
    return np.asarray(norms / np.sqrt(np.sqrt(np.outer(diagonal, diagonal))))


def distance_matrix(spectrum: Spectrum, step: int) -> np.ndarray:
    """Jensen-Shannon divergences in nats [blocks, blocks], 0 on the diagonal.

    As the program recorded them, with `hessian.distances: true`; NaN where it did not.
    """
    distances = _symmetric(spectrum, spectrum.rows("distances", step), "jensen_shannon")
    measured = np.isfinite(distances).any(axis=1)
    distances[measured, measured] = 0.0
    return distances


def _symmetric(spectrum: Spectrum, table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as a matrix of row_block and column_block; a pair may be given in either order."""
    values = np.full((len(spectrum.blocks),) * 2, np.nan)
    rows, columns = (table[name].to_numpy(dtype=int) for name in ("row_block", "column_block"))
    values[columns, rows] = table[column]
    values[rows, columns] = table[column]
    return values


def _heat_map(
    spectrum: Spectrum, values: np.ndarray, norm: Normalize | None, label: str, title: str,
    nothing: str,
) -> Figure:  # fmt: skip
    names = [short_name(name) for name in spectrum.blocks["name"]]
    named = len(names) <= _MOST_NAMES
    side = min(max(_CELL_INCHES * len(names), 2.6), 8.0)
    with figure_style():
        size = (side + (3.0 if named else 2.0), side + (1.9 if named else 1.2))
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        axes = figure.subplots()
        if norm is None:
            empty_panel(axes, nothing)
            return figure
        axes.set_facecolor(MISSING_COLOR)
        image = axes.imshow(np.ma.masked_invalid(values), cmap=HEAT, norm=norm, aspect="equal",
                            interpolation="nearest")  # fmt: skip
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label(label)
        bar.outline.set_visible(False)
        _name_cells(axes, names, named)
        panel_title(axes, title)
        if np.isnan(values).any():
            footnote(figure, "grey: not measured, or zero")
    return figure


def _name_cells(axes: Axes, names: list[str], named: bool) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if not named:
        axes.set_xlabel("block")
        axes.set_ylabel("block")
        return
    at, size = range(len(names)), 8 if len(names) <= 12 else 6.5
    axes.set_xticks(at, names, rotation=90, fontsize=size)
    axes.set_yticks(at, names, fontsize=size)
