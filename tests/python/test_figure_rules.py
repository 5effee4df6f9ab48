"""What every figure keeps: legends that name, no two groups alike, no panel without data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from make_runs import PlannedRun, RunSpec, gpt2_partition, llama_partition, write_planned, write_run
from make_spectra import gpt2_spectrum, write_spectrum
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from blockwise.figures.loss_difference import loss_difference_figure
from blockwise.figures.partition import partition_picture
from blockwise.figures.run import run_figure
from blockwise.figures.spectrum import spectrum_figure
from blockwise.figures.spectrum_course import spectrum_course_figure
from blockwise.figures.style import group_styles
from blockwise.figures.sweep import (
    final_loss_figure,
    loss_curve_figure,
    memory_figure,
    sweep_figure,
)
from blockwise.files.run import read_run
from blockwise.files.spectra import read_spectrum
from blockwise.files.sweep import LEARNING_RATE, Sweep, read_sweep
from studies.class_figure import class_figure
from studies.memory_figures import planned_memory_figure
from studies.stability_figure import stability_figure

GROUPS = [f"group_{i:02d}" for i in range(12)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Twelve groups, more than the palette has colours, and a diverged run."""
    sections = llama_partition()[:2]
    runs = []
    for i, group in enumerate(GROUPS):
        for rate in (1e-3, 4e-3):
            for seed in (1, 2):
                spec = RunSpec(steps=20, evaluate_every=10, rate=rate, seed=seed,
                               floor=1.5 + 0.02 * i, partition=sections)  # fmt: skip
                if (i, rate, seed) == (5, 4e-3, 1):
                    spec = replace(spec, status="diverged", message="loss nan")
                runs.append(PlannedRun(group, seed, {LEARNING_RATE: rate}, spec))
    return read_sweep(write_planned(tmp_path_factory.mktemp("many"), GROUPS[0], runs))


def look(handle: Artist) -> tuple[object, ...]:
    """What tells a legend's entry from another: colour, marker and the pattern of its line."""
    if isinstance(handle, Line2D):
        pattern = str(handle._dash_pattern) if handle.get_linestyle() != "None" else ""
        return to_hex(handle.get_color()), handle.get_marker(), pattern, handle.get_linewidth()
    if isinstance(handle, LineCollection):
        return "sticks", to_hex(handle.get_color()[0])
    if isinstance(handle, PolyCollection):
        return "band", to_hex(handle.get_facecolor()[0])
    assert isinstance(handle, Patch)
    return to_hex(handle.get_facecolor()), handle.get_alpha()


def legends(figure: Figure) -> Iterator[tuple[list[str], list[tuple[object, ...]]]]:
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None:
            continue
        drawn = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        names = [text.get_text() for text in legend.get_texts()]
        looks = []
        for name, handle in zip(names, legend.legend_handles, strict=True):
            source = drawn.get(name, handle)
            if isinstance(source, ErrorbarContainer):
                source = source.lines[0]
            looks.append(look(source[0] if isinstance(source, BarContainer) else source))
        yield names, looks


def has_data(axes: Axes) -> bool:
    drawn = [*axes.lines, *axes.collections, *axes.patches, *axes.images]
    return len(drawn) > 0


def check_room(figure: Figure) -> None:
    """Labels of an axis do not cover each other, and titles end within the figure."""
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert all(a.x1 <= b.x0 or b.x1 <= a.x0 for a, b in zip(boxes, boxes[1:], strict=False)), [
            label.get_text() for label in axes.get_xticklabels()
        ]
        for text in (axes.title, axes._left_title, *axes.texts):
            if text.get_text():
                box = text.get_window_extent()
                assert box.x1 <= figure.bbox.x1, text.get_text()


def check(figure: Figure) -> list[str]:
    """Every panel has data, every legend entry a name and a look of its own. Their names."""
    figure.draw_without_rendering()
    assert all(has_data(axes) for axes in figure.axes)
    check_room(figure)
    found = []
    for names, looks in legends(figure):
        assert len(set(names)) == len(names)
        assert len(set(looks)) == len(looks), names
        assert all(name and not name.startswith("_") for name in names)
        found += names
    return found


def test_no_two_of_many_groups_look_alike() -> None:
    styles = list(group_styles([str(i) for i in range(40)], "0").values())
    assert len({(s.color, s.line) for s in styles}) >= 32
    assert len({(s.color, s.line, s.marker) for s in styles}) == 40
    assert len({(s.color, s.marker) for s in styles[:20]}) == 20
    # Crosses stand for runs that diverged.
    assert not {s.marker for s in styles} & {"x", "X", "+", "P"}


@pytest.mark.parametrize(
    "draw", [sweep_figure, loss_curve_figure, final_loss_figure, stability_figure]
)
def test_a_sweep_of_many_groups_names_them_all(many: Sweep, draw: object) -> None:
    figure = draw(many)  # type: ignore[operator]
    names = check(figure)
    for group in GROUPS:
        assert any(name.split(" ")[0] == group for name in names), group


def test_long_names_of_groups_have_room(tmp_path: Path) -> None:
    groups = ["adamw", "adam_mini", "adam_mini_query_key_factored", "scale"]
    runs = [PlannedRun(group, seed, {}, RunSpec(steps=20, evaluate_every=10, seed=seed))
            for group in groups for seed in (1, 2)]  # fmt: skip
    figure = sweep_figure(read_sweep(write_planned(tmp_path, "adamw", runs)))
    check(figure)
    rows = [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    assert [row.replace("\n", "") for row in rows] == groups


def test_differences_and_memory_of_many_groups(many: Sweep) -> None:
    names = check(loss_difference_figure(many))
    assert set(GROUPS[1:]) <= set(names)
    assert check(memory_figure(many))[:2] == ["parameters", "gradients"]


def test_the_legend_says_which_rates_diverged(many: Sweep) -> None:
    assert "the lowest at which a seed diverged" in check(stability_figure(many))


def test_equal_classes_do_not_hide_each_other() -> None:
    table = pd.DataFrame(
        [
            {"model": model, "tensor": tensor, "classes": classes, "ratio": 1 / (classes - 1),
             "half_width": 1e-3 / classes, "law": 1 / (classes - 1)}
            for model, tensor in (("mlp", "a"), ("mlp", "b"), ("regression", "a"))
            for classes in (10, 100, 1000)
        ]
    )  # fmt: skip
    figure = class_figure(table)
    assert check(figure) == ["1 / (C - 1)", "mlp: a", "mlp: b", "regression: a"]
    (axes,) = figure.axes
    marks = [line for line in axes.lines if line.get_marker() in ("o", "s", "^")]
    places = np.array([line.get_xdata() for line in marks], dtype=float)
    assert len(places) == 3
    assert len(np.unique(places[:, 0])) == 3


# ---- the partition -----------------------------------------------------------------------------


def test_a_partition_has_two_tints_per_structure_and_nothing_random(tmp_path: Path) -> None:
    """A third tint would look like a third value."""
    write_run(tmp_path / "run.h5", RunSpec(partition=gpt2_partition()))
    figure = partition_picture(read_run(tmp_path / "run.h5"), "best")
    (axes,) = figure.axes
    for mesh in (one for one in axes.collections if isinstance(one, QuadMesh)):
        colors = np.asarray(mesh.get_array()).reshape(-1, 3)
        assert len(np.unique(colors, axis=0)) <= 2
    assert axes.texts[0].get_text().startswith("best: Partition")


def test_a_partition_has_a_legend_of_its_structures(tmp_path: Path) -> None:
    sections = [replace(section) for section in gpt2_partition()]
    sections[-1] = replace(sections[-1], structure="none")
    write_run(tmp_path / "run.h5", RunSpec(partition=sections))
    names = check(partition_picture(read_run(tmp_path / "run.h5")))
    assert [name.split(":")[0] for name in names] == ["tiles", "elements", "factored", "none"]
    written = [text.get_text() for text in partition_picture(read_run(tmp_path)).axes[0].texts]
    assert not any("partition file" in text for text in written)


# ---- no empty panel ----------------------------------------------------------------------------


def test_a_run_without_steps_has_one_panel_that_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", RunSpec(steps=0, status="failed"))
    assert len(run_figure(read_run(tmp_path)).axes) == 1
    assert len(planned_memory_figure(pd.DataFrame()).axes) == 1


def test_a_spectrum_has_the_panels_of_what_was_measured(tmp_path: Path) -> None:
    spectrum = read_spectrum(write_spectrum(tmp_path / "spectrum.h5", gpt2_spectrum((0, 50))))
    whole = spectrum_course_figure(spectrum)
    assert len(whole.axes) == 3
    check(whole)
    empty = {name: getattr(spectrum, name).iloc[:0] for name in ("eigenvalues", "quadrature")}
    traces = spectrum_course_figure(replace(spectrum, **empty))
    assert [axes.get_title(loc="left") for axes in traces.axes] == ["Trace"]
    check(traces)
    for tables, panels in ((["eigenvalues"], 2), (["quadrature"], 1), ([], 3)):
        figure = spectrum_figure(replace(spectrum, **{name: empty[name] for name in tables}))
        assert len(figure.axes) == panels
        check(figure)


def test_a_title_says_the_step_and_the_model_that_was_measured(tmp_path: Path) -> None:
    spectrum = read_spectrum(write_spectrum(tmp_path / "spectrum.h5", gpt2_spectrum((0, 50))))
    assert spectrum.subject(50) == "at step 50"
    points = pd.DataFrame({"step": [0, 50], "model": ["", "runs/a/checkpoints/step_00000050"]})
    spectrum = replace(spectrum, points=points)
    assert spectrum.subject(0) == "at step 0"
    title = spectrum_figure(spectrum, 0, 50).axes[0].get_title(loc="left")
    assert title.endswith(" of a at step 50")


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    assert not plt.get_fignums()
