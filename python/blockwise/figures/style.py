"""The look of all figures: colours that the colour-blind can tell apart, few lines, no frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from ..files.atomic_file import replaced_on_success

INK = "#262626"
GREY = "#7a7a7a"

# The baseline is dark grey; the others follow Okabe and Ito's palette (2008), most distinct first,
# and two further hues. After the last colour the lines are dashed, so that no two groups look
# alike; the markers, of another number, do not return together with the colours. A cross is no
# group's: it stands for runs that diverged.
_BASELINE_COLOR = "#4a4a4a"
_GROUP_COLORS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b3294", "#8c564b",
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "p", "<", "h", ">")
_LINES = ("-", (0, (5, 2)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
LineStyle: TypeAlias = str | tuple[float, tuple[float, ...]]

LOSS_UNIT = "nats per token"
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib, so it is the same everywhere
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#5a5a5a",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 8.5,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "xtick.color": "#5a5a5a",
    "ytick.color": "#5a5a5a",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 2.4,  # a dashed line must be seen as one
    "legend.borderaxespad": 0,
    "lines.linewidth": 1.6,
    "figure.dpi": 140,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "blockwise",  # equal figures are equal files
}


@dataclass(frozen=True)
class GroupStyle:
    color: str
    marker: str
    line: LineStyle = "-"


def panels(size: tuple[float, float], ratios: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side; size in inches. Call it inside `figure_style`."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06))
    axes = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)
    return figure, list(axes[0])


@contextmanager
def figure_style() -> Iterator[None]:
    """The settings of this module, for figures that are made or saved inside the block."""
    with mpl.rc_context():
        mpl.rcParams.update(_SETTINGS)
        yield


def group_styles(groups: Sequence[str], baseline: str) -> dict[str, GroupStyle]:
    """Colour, marker and line of every group: by position, so that a sweep's figures agree."""
    others = [group for group in groups if group != baseline]
    styles = {group: _style(i) for i, group in enumerate(others)}
    return {group: styles.get(group, GroupStyle(_BASELINE_COLOR, "o")) for group in groups}


def _style(place: int) -> GroupStyle:
    cycle, color = divmod(place, len(_GROUP_COLORS))
    marker = _MARKERS[(place + 1) % len(_MARKERS)]
    return GroupStyle(_GROUP_COLORS[color], marker, _LINES[cycle % len(_LINES)])


def legend_columns(names: Sequence[str], letters: int = 56) -> int:
    """Columns of a legend under a panel that is as wide as so many letters."""
    longest = max((len(name) for name in names), default=1)
    return max(1, min(len(names), letters // (longest + 7)))


def rate_ticks(axes: Axes, rates: Sequence[float]) -> None:
    """Named grid points read better than powers of ten; a random search has too many of them."""
    if len(rates) > 8:
        return
    axes.xaxis.set_major_locator(FixedLocator(list(rates)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def panel_title(axes: Axes, title: str, subtitle: str = "") -> None:
    """A bold title at the left edge and what is drawn, in grey, under it."""
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=20 if subtitle else 7)
    if subtitle:
        axes.annotate(
            subtitle, (0, 1), (0, 7), "axes fraction", "offset points", color=GREY, fontsize=8
        )


def in_lines(name: str, width: int) -> str:
    """A name broken behind underscores into lines of at most `width` characters, where it can be."""
    lines = [""]
    for word in name.replace("_", "_ ").split(" "):
        if lines[-1] and len(lines[-1] + word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def legend_below(axes: Axes, columns: int, **options: object) -> None:
    """A legend under the axis label, where it cannot cover data."""
    figure = axes.get_figure()
    assert figure is not None
    # A distance in points: a fraction of the axes would change with their height.
    down = ScaledTranslation(0, -36 / 72, figure.dpi_scale_trans)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=axes.transAxes + down,
        ncols=columns, columnspacing=1.4, **options,
    )  # fmt: skip


def footnote(figure: Figure, text: str) -> None:
    """A grey line at the lower left edge of a figure."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=GREY)


def empty_panel(axes: Axes, reason: str) -> None:
    """Says why there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color=GREY, transform=axes.transAxes)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes .png, .pdf or .svg, by the suffix; a figure that cannot be written leaves no file."""
    target = Path(path)
    undated = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    if target.suffix.lower() not in undated:
        raise ValueError(f"'{target}' does not end in {', '.join(FIGURE_SUFFIXES)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with figure_style(), replaced_on_success(target) as partial:
        figure.savefig(partial, metadata=undated[target.suffix.lower()])


# ---- numbers and names for readers -------------------------------------------------------------


def short_name(name: str, most: int = 30) -> str:
    """The end of a long name, where parameters differ."""
    return name if len(name) <= most else "…" + name[1 - most :]


def three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def count_scale(largest: float) -> tuple[float, str]:
    """What to divide counts by, and the word for it, in brackets and after a blank."""
    for scale, word in ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)")):
        if largest >= scale:
            return scale, word
    return 1.0, ""


def byte_scale(largest: float) -> tuple[float, str]:
    """What to divide bytes by, and the unit."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if largest >= 1024**power:
            return 1024.0**power, unit
    return 1.0, "bytes"
