"""A partition as a picture: which elements of a tensor share one second moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..files.partition_file import PartitionFile
from ..files.run import Run
from .style import GREY, INK, figure_style

_COLUMNS = 5
_INCHES = 1.95  # width of a matrix; all lengths below are in widths of a matrix
_PITCH = 1.11  # from one column to the next
_HEADER = 0.22
_FOOTER = 0.12
_LEGEND_ROW = 0.14

# More cells than these in one direction would be a grey area: the rest is left out and the picture
# fades there. Factored sections have no lines between their elements, so they bear more.
_MAX_CELLS = 24
_MAX_FACTORED_CELLS = 48
_MAX_FACTORED_GROUPS = 3

_MATRIX = 0.62  # height
_FUSED_MATRIX = 0.45  # several under one another
_VECTOR = 0.085
_ROLE = 0.075  # from the top to the line of text with the role
_BLOCKS = 0.165
_TITLE = 0.205
_SHAPE = 0.085  # from the picture to the line of text under it
_GAP = 0.21
_BAR = 0.045  # thickness of the bars of a factored section
_FADE = 0.3  # of the length of the side

# A light and a dark tint of a structure's hue alternate: they stand for no values.
_TILES = ("#b5d2ea", "#86b4da")
_ELEMENTS = ("#cfe3cd", "#a3c9a0")
_FACTORED = ("#f3c49a", "#e8a262")
_PRODUCT = "#fdf0e4"
_LABELS = "#e6dcee"
_NONE = "#f2f2f2"
_LEGEND = {
    "tiles": (_TILES[1], "a cell: one value, shared by a tile"),
    "elements": (_ELEMENTS[1], "a cell: the value of one element"),
    "factored": (_FACTORED[1], "a cell of the bars: the value of a row or a column"),
    "labels": (_LABELS, "values shared as a file's labels say"),
    "none": (_NONE, "no second moment"),
}


@dataclass(frozen=True)
class _Section:
    """One section of a tensor and what of it is drawn; lengths in elements."""

    role: str
    structure: str
    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    blocks: int
    shown_rows: int
    shown_columns: int
    shape: str  # for the reader

    @staticmethod
    def of(row: pd.Series, tensor_rows: int) -> _Section:
        rows, columns = int(row["rows"]), int(row["columns"])
        tile_rows = min(int(row["tile_rows"]), rows)
        tile_columns = min(int(row["tile_columns"]), columns)
        if columns == 1:  # a vector is [n, 1] in the file and lies on its side in the picture
            rows, columns, tile_rows, tile_columns = 1, rows, 1, tile_rows
        structure = str(row["structure"])
        most = _most_shown(structure, tile_rows, tile_columns)
        return _Section(
            role=str(row["role"]),
            structure=structure,
            rows=rows,
            columns=columns,
            tile_rows=tile_rows,
            tile_columns=tile_columns,
            blocks=int(row["blocks"]),
            shown_rows=min(rows, most[0]),
            shown_columns=min(columns, most[1]),
            shape=_shape(row, tensor_rows),
        )

    @property
    def is_vector(self) -> bool:
        return self.rows == 1

    def describe(self) -> str:
        blocks = f"{self.blocks:,} block" + ("" if self.blocks == 1 else "s")
        if self.structure == "tiles" and self.is_vector:
            return f"{blocks}: tiles of {self.tile_columns:,}"
        if self.structure == "tiles":
            return f"{blocks}: tiles {self.tile_rows:,} × {self.tile_columns:,}"
        if self.structure == "factored":
            return f"{blocks}: factored {self.tile_rows:,} × {self.columns:,}"
        return f"{blocks}: {self.structure}"


def _shape(row: pd.Series, tensor_rows: int) -> str:
    """Sizes of the tensor, and which of its rows, where it has several sections."""
    begin, rows, columns = int(row["row_begin"]), int(row["rows"]), int(row["columns"])
    whole = f"{tensor_rows:,}" if columns == 1 else f"{tensor_rows:,} × {columns:,}"
    return whole if rows == tensor_rows else f"rows {begin:,} to {begin + rows - 1:,} of {whole}"


def _most_shown(structure: str, tile_rows: int, tile_columns: int) -> tuple[int, int]:
    """Rows and columns that a picture bears."""
    if structure == "tiles":
        return _MAX_CELLS * tile_rows, _MAX_CELLS * tile_columns
    if structure == "factored":
        return min(_MAX_FACTORED_CELLS, _MAX_FACTORED_GROUPS * tile_rows), _MAX_FACTORED_CELLS
    return _MAX_CELLS, _MAX_CELLS


@dataclass(frozen=True)
class _Box:
    """Where a section is drawn."""

    left: float
    top: float
    width: float
    height: float


def partition_picture(run: Run | PartitionFile, name: str = "") -> Figure:
    """The partition of a run or a file: one tensor per role, and in it the elements that share a value.

    Output rows go from top to bottom, a vector lies on its side. Tiles are drawn with their edges,
    single elements as small squares, a factored section as a bar with a cell per row and a bar with
    a cell per column, for each of its groups of rows. Sections of a fused tensor are under one
    another. The hue says the structure, as the legend names it; two tints of it alternate. `name`
    stands before the title.
    """
    tensors = [_read_tensor(sections) for sections in representative_tensors(run.partition)]
    tensors.sort(key=lambda tensor: tensor[0].is_vector)  # matrices in even rows, then vectors
    places, bottom = _places(tensors)
    with figure_style():
        axes = _canvas(min(_COLUMNS, len(tensors)), bottom)
        axes.text(0, 0.07, (f"{name}: " if name else "") + _summary(run), fontsize=9.5, color=INK)
        for tensor, (left, top) in zip(tensors, places, strict=True):
            _draw_tensor(axes, tensor, left, top)
        note = "One tensor per role. Where a picture fades, the tensor goes on."
        axes.text(0, bottom + _FOOTER, note, fontsize=8, color=GREY)
        _draw_legend(axes, tensors, bottom + _FOOTER + _LEGEND_ROW)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _draw_legend(axes: Axes, tensors: list[list[_Section]], at: float) -> None:
    """What a cell of each structure that occurs stands for."""
    used = {section.structure for tensor in tensors for section in tensor}
    handles = [
        Patch(facecolor=color, edgecolor=GREY, lw=0.4, label=f"{name}: {words}")
        for name, (color, words) in _LEGEND.items()
        if name in used
    ]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0, at), bbox_transform=axes.transData,
        ncols=len(handles), handlelength=1.0, handleheight=1.0, columnspacing=2,
    )  # fmt: skip


def _read_tensor(sections: pd.DataFrame) -> list[_Section]:
    rows = int(sections["rows"].sum())
    return [_Section.of(section, rows) for _, section in sections.iterrows()]


def _places(tensors: list[list[_Section]]) -> tuple[list[tuple[float, float]], float]:
    """Left and top of every tensor: each goes where the columns end first. And the lowest end."""
    ends = [_HEADER] * _COLUMNS
    places = []
    for tensor in tensors:
        column = ends.index(min(ends))
        places.append((column * _PITCH, ends[column]))
        ends[column] += _tensor_height(tensor)
    return places, max(ends)


def _canvas(columns: int, bottom: float) -> Axes:
    """Axes that fill a figure and in which the unit is the width of a matrix, y downwards."""
    margin = 0.07
    width = max(columns, 2) * _PITCH - (_PITCH - 1) + 2 * margin
    height = bottom + _FOOTER + _LEGEND_ROW + 2 * margin
    figure = Figure(figsize=(_INCHES * width, _INCHES * height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-margin, width - margin)
    axes.set_ylim(height - margin, -margin)
    axes.set_axis_off()
    return axes


def representative_tensors(partition: pd.DataFrame) -> list[pd.DataFrame]:
    """For every role the sections of the first tensor that has it, each tensor once."""
    names = dict.fromkeys(partition.drop_duplicates("role")["tensor"])
    return [partition[partition["tensor"] == name].sort_values("row_begin") for name in names]


def _summary(run: Run | PartitionFile) -> str:
    elements = int((run.partition["rows"] * run.partition["columns"]).sum())
    values = int(run.partition["state_elements"].sum())
    return (
        f"Partition {run.partition_rule}: {values:,} second moments for {elements:,} parameters "
        f"({100 * values / max(elements, 1):.3g} %)"
    )


# ---- one tensor --------------------------------------------------------------------------------


def _height(section: _Section, tensor: list[_Section]) -> float:
    if section.is_vector:
        return _VECTOR
    return _MATRIX if len(tensor) == 1 else _FUSED_MATRIX


def _tensor_height(tensor: list[_Section]) -> float:
    return sum(_TITLE + _height(section, tensor) + _GAP for section in tensor)


def _draw_tensor(axes: Axes, tensor: list[_Section], left: float, top: float) -> None:
    for section in tensor:
        box = _Box(left, top + _TITLE, 1, _height(section, tensor))
        bottom = box.top + box.height
        axes.text(left, top + _ROLE, section.role, fontsize=9, fontweight="bold", color=INK)
        axes.text(left, top + _BLOCKS, section.describe(), fontsize=8, color=INK)
        axes.text(left + 1, bottom + _SHAPE, section.shape, fontsize=7.5, color=GREY, ha="right")
        _draw_section(axes, section, box)
        top = bottom + _GAP


def _draw_section(axes: Axes, section: _Section, box: _Box) -> None:
    draw = {
        "tiles": _draw_tiles,
        "elements": _draw_elements,
        "factored": _draw_factored,
        "none": _draw_none,
    }
    draw.get(section.structure, _draw_labels)(axes, section, box)
    _fade(axes, section, box)


# ---- the structures ----------------------------------------------------------------------------


def _edges(begin: float, length: float, count: int, step: int = 1) -> np.ndarray:
    """Places of the lines around every `step` of `count` elements; the last step may be shorter."""
    cuts = np.append(np.arange(0, count, step), count)
    return begin + length * cuts / count


def _draw_cells(axes: Axes, x: np.ndarray, y: np.ndarray, colors: np.ndarray) -> None:
    """Cells, with white lines between them where they are large enough for lines."""
    points = 72 * _INCHES * min(np.diff(x).max(), np.diff(y).max())
    if points < 2:
        axes.pcolormesh(x, y, colors, rasterized=True)
    else:
        axes.pcolormesh(x, y, colors, edgecolors="white", linewidth=min(0.7, 0.12 * points))


def _draw_tiles(axes: Axes, section: _Section, box: _Box) -> None:
    x = _edges(box.left, box.width, section.shown_columns, section.tile_columns)
    y = _edges(box.top, box.height, section.shown_rows, section.tile_rows)
    _draw_cells(axes, x, y, _alternating(_TILES, len(y) - 1, len(x) - 1))


def _alternating(tints: tuple[str, str], down: int, across: int) -> np.ndarray:
    """Colours of a chessboard [down, across, 3]."""
    rows, columns = np.indices((down, across))
    return np.array([to_rgb(tint) for tint in tints])[(rows + columns) % 2]


def _draw_elements(axes: Axes, section: _Section, box: _Box) -> None:
    x = _edges(box.left, box.width, section.shown_columns)
    y = _edges(box.top, box.height, section.shown_rows)
    _draw_cells(axes, x, y, _alternating(_ELEMENTS, section.shown_rows, section.shown_columns))


def _draw_factored(axes: Axes, section: _Section, box: _Box) -> None:
    """Groups of rows, each with a bar of column values on top and one of row values on its left."""
    starts = range(0, section.shown_rows, section.tile_rows)
    body_left = box.left + 1.4 * _BAR
    room = box.height - 1.8 * _BAR * len(starts) + 0.4 * _BAR
    top = box.top
    for start in starts:
        rows = min(section.tile_rows, section.shown_rows - start)
        body = _Box(
            body_left, top + 1.4 * _BAR, box.left + box.width - body_left,
            room * rows / section.shown_rows,
        )  # fmt: skip
        _draw_group(axes, body, rows, section.shown_columns)
        top = body.top + body.height + 0.4 * _BAR


def _draw_group(axes: Axes, body: _Box, rows: int, columns: int) -> None:
    """The elements themselves have no values of their own: their area is plain."""
    x = _edges(body.left, body.width, columns)
    y = _edges(body.top, body.height, rows)
    bar_x = np.array([body.left - 1.4 * _BAR, body.left - 0.4 * _BAR])
    bar_y = np.array([body.top - 1.4 * _BAR, body.top - 0.4 * _BAR])
    _draw_cells(axes, x, bar_y, _alternating(_FACTORED, 1, columns))
    _draw_cells(axes, bar_x, y, _alternating(_FACTORED, rows, 1))
    _draw_cells(axes, x, y, _alternating((_PRODUCT, _PRODUCT), rows, columns))


def _draw_labels(axes: Axes, _: _Section, box: _Box) -> None:
    """The run file does not hold the labels themselves, so there is no pattern to draw."""
    axes.add_patch(Rectangle((box.left, box.top), box.width, box.height, color=_LABELS, lw=0))
    axes.text(
        box.left + box.width / 2, box.top + box.height / 2, "labels of a\npartition file",
        ha="center", va="center", fontsize=8, color=GREY,
    )  # fmt: skip


def _draw_none(axes: Axes, _: _Section, box: _Box) -> None:
    axes.add_patch(
        Rectangle((box.left, box.top), box.width, box.height, facecolor=_NONE, edgecolor=GREY,
                  lw=0.4)
    )  # fmt: skip


def _fade(axes: Axes, section: _Section, box: _Box) -> None:
    """White over the sides at which the tensor goes on."""
    if section.structure not in ("tiles", "elements", "factored"):
        return
    opaque = np.linspace(0, 1, 64)
    right, bottom = box.left + box.width, box.top + box.height
    if section.shown_rows < section.rows:
        extent = (box.left, right, bottom, bottom - _FADE * box.height)
        _cover(axes, opaque[:, None], extent)
    if section.shown_columns < section.columns:
        _cover(axes, opaque[None, :], (right - _FADE * box.width, right, bottom, box.top))


def _cover(axes: Axes, alpha: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    white = np.concatenate([np.ones((*alpha.shape, 3)), alpha[..., None]], axis=-1)
    axes.imshow(white, extent=extent, aspect="auto", interpolation="bilinear", zorder=3)
