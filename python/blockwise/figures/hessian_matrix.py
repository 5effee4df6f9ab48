"""A figure of an exact Hessian block, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..files.spectra import Spectrum
from .block_matrix import HEAT
from .style import GREY, empty_panel, figure_style, footnote, panel_title, short_name

_MOST_CELLS = 1000  # in each direction
_DECADES = 6
_LOWEST = 0.01  # of the entries have the lowest colour
_MOST_NAMES = 40
_NAME_DISTANCE = 0.028  # of the side


def matrix_figure(
    spectrum: Spectrum, block: str | int = 0, step: int | None = None, heads: bool = False
) -> Figure:
    """|H| of an exact matrix on a logarithmic colour scale, with the parameters' boundaries.

    With `heads` dotted lines stand between the heads of the tensors that have some; where a head is
    a group of columns (the attention's output), its entries are drawn together: see `head_order`.

    A matrix with more than 1000 rows is drawn as the largest |entry| of square cells, so that a
    single large entry is still seen. The scale leaves out the smallest hundredth of the entries and
    covers at most six decades; smaller entries have its lowest colour.
    """
    step = spectrum.measured_step(step)
    matrix = np.abs(spectrum.matrix(block, step))
    head_ends: list[int] = []
    if heads:
        order, head_ends = head_order(spectrum, block)
        matrix = matrix[np.ix_(order, order)]
    cells, cell = max_pooled(matrix)
    lines = "lines: parameters, dotted: heads" if heads else "lines: parameters"
    size = f"{len(matrix):,} × {len(matrix):,} entries; {lines}"
    name = short_name(spectrum.blocks["name"].iloc[spectrum.block_id(block)])
    with figure_style():
        figure = Figure(figsize=(7.6, 6.6), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        axes = figure.subplots()
        if not cells.max() > 0:
            empty_panel(axes, "every entry is zero")
            return figure
        _draw_cells(axes, cells, cell)
        axes.set_xlim(0, len(matrix))
        axes.set_ylim(len(matrix), 0)
        _draw_parameters(axes, block_parameters(spectrum, block), len(matrix))
        for end in head_ends:
            axes.axhline(end, color=GREY, lw=0.4, ls=":")
            axes.axvline(end, color=GREY, lw=0.4, ls=":")
        panel_title(axes, f"Hessian of {name}, step {step}", size)
    return figure


def _draw_cells(axes: Axes, cells: np.ndarray, cell: int) -> None:
    top = float(cells.max())
    low = max(float(np.quantile(cells[cells > 0], _LOWEST)), top * 10.0**-_DECADES)
    end = cell * len(cells)
    image = axes.imshow(
        np.maximum(cells, low), cmap=HEAT, norm=LogNorm(min(low, top / 10), top),
        extent=(0, end, end, 0), interpolation="nearest",
    )  # fmt: skip
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("|H|" + (f", largest of {cell} × {cell}" if cell > 1 else ""))
    bar.outline.set_visible(False)


def max_pooled(matrix: np.ndarray, most: int = _MOST_CELLS) -> tuple[np.ndarray, int]:
    """The largest entries of square cells, so that there are at most `most` in each direction.

    And the side of a cell in entries. Cells at the end may be smaller.
    """
    cell = -(-len(matrix) // most)
    if cell <= 1:
        return matrix, 1
    starts = np.arange(0, len(matrix), cell)
    return np.maximum.reduceat(np.maximum.reduceat(matrix, starts), starts, axis=1), cell


def block_parameters(spectrum: Spectrum, block: str | int) -> pd.DataFrame:
    """The parameters that a block is made of, in its order: name and elements.

    A part of a tensor, as a head or a row, goes by the block's own name. Files of older programs do
    not say what a block is made of: there it is all parameters, those of its layer or role, or the
    one of its name, if their elements add up to the block's, otherwise the block itself.
    """
    number = spectrum.block_id(block)
    row = spectrum.blocks.iloc[number]
    table = spectrum.parameters
    pieces = spectrum.pieces[spectrum.pieces["block"] == number]
    if len(pieces) == 1 and pieces["rows"].iloc[0] * pieces["columns"].iloc[0] == row["elements"]:
        return pd.DataFrame({"name": [row["name"]], "elements": [row["elements"]]})
    if len(pieces):
        sizes = (pieces["rows"] * pieces["columns"]).groupby(pieces["tensor"], sort=False).sum()
        names = [table["name"].iloc[int(tensor)] for tensor in sizes.index]
        return pd.DataFrame({"name": names, "elements": sizes.to_numpy()})
    alike = pd.Series(True, index=table.index)
    if row["layer"] >= 0:
        alike &= table["layer"] == row["layer"]
    if row["role"]:
        alike &= table["role"] == row["role"]
    for chosen in (table[table["name"] == row["name"]], table[alike]):
        if chosen["elements"].sum() == row["elements"]:
            return chosen.sort_values("offset")[["name", "elements"]].reset_index(drop=True)
    return pd.DataFrame({"name": [row["name"]], "elements": [row["elements"]]})


def head_order(spectrum: Spectrum, block: str | int) -> tuple[np.ndarray, list[int]]:
    """The block's elements with those of a head side by side, and the ends of heads in that order.

    Where heads are rows of a tensor they are side by side already; where they are columns, its
    elements are taken head by head and within a head row by row. The end of a tensor or a section
    is no end of a head. Raises ValueError where the block has no two heads.
    """
    number = spectrum.block_id(block)
    order: list[np.ndarray] = []
    ends: list[int] = []
    begin = 0
    for piece in spectrum.pieces[spectrum.pieces["block"] == number].itertuples():
        places = begin + np.arange(piece.rows * piece.columns).reshape(piece.rows, piece.columns)
        parts = _heads_of(spectrum, piece, places)
        order += [part.ravel() for part in parts]
        ends += (begin + np.cumsum([part.size for part in parts])[:-1]).tolist()
        begin += places.size
    if not ends:
        name = spectrum.blocks["name"].iloc[number]
        raise ValueError(f"{spectrum.path}: the block '{name}' is not known to have several heads")
    return np.concatenate(order), ends


def _heads_of(spectrum: Spectrum, piece: Any, places: np.ndarray) -> list[np.ndarray]:
    """A piece cut where its heads begin; whole where it has none."""
    sections = spectrum.sections
    row = sections[
        (sections["tensor"] == piece.tensor)
        & (sections["row"] <= piece.row)
        & (piece.row < sections["row"] + sections["rows"])
    ].iloc[0]
    if row["heads"] == 0:
        return [places]
    columns = row["head_axis"] == 1
    first = piece.column if columns else piece.row - row["row"]
    length = places.shape[1] if columns else places.shape[0]
    borders = np.arange(row["head_dim"], first + length, row["head_dim"]) - first
    return np.split(places, borders[borders > 0], axis=1 if columns else 0)


def _draw_parameters(axes: Axes, parameters: pd.DataFrame, rows: int) -> None:
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    ends = parameters["elements"].cumsum().to_numpy()
    for end in ends[:-1]:
        axes.axhline(end, color=GREY, lw=0.4)
        axes.axvline(end, color=GREY, lw=0.4)
    if len(parameters) > _MOST_NAMES:
        figure = axes.get_figure()
        assert isinstance(figure, Figure)
        footnote(figure, f"lines: {len(parameters)} parameters")
        return
    centres = (ends - parameters["elements"].to_numpy() / 2) / rows
    places = spread(centres, _NAME_DISTANCE)
    for name, centre, place in zip(parameters["name"], centres, places, strict=True):
        _name(axes, short_name(name), (0, 1 - centre), (-0.03, 1 - place))
        _name(axes, short_name(name), (centre, 0), (place, -0.03))


def _name(axes: Axes, name: str, tip: tuple[float, float], place: tuple[float, float]) -> None:
    """A name beside the axes, with a line to the middle of its parameter."""
    left = tip[0] == 0
    axes.annotate(
        name, tip, place, "axes fraction", "axes fraction", fontsize=6.5,
        ha="right" if left else "center", va="center" if left else "top",
        rotation=0 if left else 90, annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 0,
                    "relpos": (1, 0.5) if left else (0.5, 1)},
    )  # fmt: skip


def spread(places: np.ndarray, distance: float) -> np.ndarray:
    """Ascending places in [0, 1], moved as little as possible to be at least `distance` apart.

    Least squares: isotonic regression of places - i distance, by pooling adjacent violators. Where
    there is no room for that distance, they are evenly apart.
    """
    distance = min(distance, 1 / max(len(places) - 1, 1))
    pools: list[list[float]] = []
    for i, place in enumerate(places):
        pools.append([place - i * distance])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    origins = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    room = max(1 - distance * (len(places) - 1), 0.0)
    return np.asarray(origins.clip(0, room) + distance * np.arange(len(places)))
