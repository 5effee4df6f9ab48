"""The study of optimizers, on sweeps whose numbers are known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from make_runs import PlannedRun, RunSpec, Section, write_planned
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import LEARNING_RATE, Sweep, read_sweep
from blockwise.statistics.student_t import t_quantile
from studies.optimizer_study import loss_bytes_figure, markdown, rates_figure, study_table, widths
from studies.optimizer_study.__main__ import main
from studies.optimizer_study.comparisons import holm_adjusted, paired_test
from studies.optimizer_study.families import FEW_BITS, OTHERS, family_of
from studies.optimizer_study.labels import place_labels
from studies.optimizer_study.pareto import pareto_front
from studies.optimizer_study.target_loss import Target, crossing, mean_course, passing, target_of
from studies.program import program

SECTIONS = [Section("a.weight", "query", "elements", 0, 0, 10, 10)]
PARAMETERS = 100
SPEC = RunSpec(steps=40, evaluate_every=10, partition=SECTIONS, step_seconds=0.5)
RATES = [0.001, 0.002, 0.004, 0.008]
CONFIRM = (11, 12, 13, 14)
# Of each rate, on the seed that chooses; None diverged.
GRID: dict[str, list[float | None]] = {
    "adamw": [2.05, 2.0, 2.08, 2.3],
    "quick": [2.2, 1.95, 1.9, None],
    "slow": [2.4, 2.35, 2.3, 2.1],
}
BEST = {"adamw": 0.002, "quick": 0.004, "slow": 0.008}
# Of each confirming seed, at the steps 0, 10, 20, 30 and 40.
CURVES = {
    "adamw": [[5.0, 3.0, 2.5, 2.2, end] for end in (2.02, 2.00, 1.98, 2.00)],
    "quick": [
        [5.0, 2.8, 2.1 + luck, 1.98 + luck, 1.97 + luck] for luck in (0.01, -0.01, 0.01, -0.01)
    ],
    "slow": [[5.0, 4.0, 3.0, 2.5, end] for end in (2.20, 2.20, 2.20, 9.0)],
}
STATE = {"adamw": 800, "quick": 12, "slow": 400}


def _chosen(group: str) -> list[PlannedRun]:
    runs = []
    for rate, loss in zip(RATES, GRID[group], strict=True):
        spec = replace(SPEC, final_loss=loss, state_bytes=STATE[group])
        if loss is None:
            spec = replace(spec, status="diverged", message="loss nan")
        runs.append(PlannedRun(group, 1, _overrides(group, rate), spec))
    return runs


def _overrides(group: str, rate: float) -> dict[str, Any]:
    return {"optimizer.rule": "lion" if group == "slow" else "adamw", LEARNING_RATE: rate}


def _confirmed(group: str) -> list[PlannedRun]:
    runs = []
    for seed, losses in zip(CONFIRM, CURVES[group], strict=True):
        spec = replace(
            SPEC, seed=seed, losses=tuple(losses), state_bytes=STATE[group], peak=seed << 20
        )
        if group == "quick":
            spec = replace(spec, step_seconds=0.25, energy={11: 30.0, 12: 50.0}.get(seed))
        if (group, seed) == ("slow", 14):
            spec = replace(spec, status="diverged", losses=(5.0, 4.0, 9.0), steps=20)
        runs.append(PlannedRun(group, seed, _overrides(group, BEST[group]), spec, confirmed=True))
    return runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [run for group in GRID for run in (*_chosen(group), *_confirmed(group))]
    return write_planned(tmp_path_factory.mktemp("optimizers"), "adamw", runs)


@pytest.fixture(scope="module")
def study(folder: Path) -> Sweep:
    return read_sweep(folder)


@pytest.fixture(scope="module")
def table(study: Sweep) -> pd.DataFrame:
    return study_table(study)


@pytest.fixture(scope="module")
def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("group")


# ---- losses and tests ----------------------------------------------------------------------------


def test_the_lowest_confirmed_loss_comes_first_and_a_diverged_seed_last(
    table: pd.DataFrame,
) -> None:
    assert table["group"].tolist() == ["quick", "adamw", "slow"]
    assert table["confirmed"].all()
    assert table["seeds"].tolist() == [4, 4, 4]
    assert table["diverged"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(table["loss"], [1.97, 2.0, 2.2], atol=1e-12)
    deviation = math.sqrt(4 * 0.01**2 / 3)
    assert table["half_width"][0] == pytest.approx(t_quantile(3) * deviation / 2)


def test_differences_are_paired_and_corrected_together(rows: pd.DataFrame) -> None:
    # quick: -0.04, -0.04, 0, -0.04: mean -0.03, deviation 0.02, t = -3 with 3 degrees of freedom,
    # where P(|T| <= 3) = 2 / pi (pi / 3 + sqrt(3) / 4).
    p_quick = 1 / 3 - math.sqrt(3) / (2 * math.pi)
    # slow: 0.18, 0.2, 0.22: t = 0.2 sqrt(3) / 0.02 with 2, where P(|T| <= t) = t / sqrt(2 + t^2).
    t = 10 * math.sqrt(3)
    p_slow = 1 - t / math.sqrt(2 + t * t)
    assert rows.loc["quick", "difference"] == pytest.approx(-0.03)
    assert rows.loc["quick", "difference_half_width"] == pytest.approx(t_quantile(3) * 0.01)
    assert rows.loc["quick", "p_value"] == pytest.approx(p_quick)
    assert rows.loc["slow", "p_value"] == pytest.approx(p_slow, rel=1e-9)
    assert rows.loc["slow", "holm"] == pytest.approx(2 * p_slow, rel=1e-9)
    assert rows.loc["quick", "holm"] == pytest.approx(p_quick)
    assert rows.loc["adamw", ["difference", "p_value", "holm"]].isna().all()


def test_holm_takes_what_is_left_and_never_falls() -> None:
    # Ordered 0.01, 0.02, 0.03, 0.9: 4 * 0.01, 3 * 0.02, max(2 * 0.03, that), 0.9.
    found = holm_adjusted([0.03, math.nan, 0.01, 0.9, 0.02])
    np.testing.assert_allclose(found, [0.06, math.nan, 0.04, 0.9, 0.06])
    assert holm_adjusted([0.6, 0.7]) == [1.0, 1.0]
    assert holm_adjusted([]) == []


def test_a_paired_test_of_few_or_equal_pairs() -> None:
    assert math.isnan(paired_test({1: 2.0}, {1: 1.0, 2: 3.0}).p_value)
    assert paired_test({1: 2.0, 2: 3.0}, {1: 2.0, 2: 3.0}).p_value == 1
    assert paired_test({1: 2.5, 2: 3.5}, {1: 2.0, 2: 3.0}).p_value == 0
    assert paired_test({1: 2.0}, {2: 1.0}).difference.count == 0


# ---- rates ---------------------------------------------------------------------------------------


def test_the_band_is_of_the_rates_near_the_best_loss(rows: pd.DataFrame) -> None:
    assert rows["learning_rate"].to_dict() == BEST
    assert rows["tried"].tolist() == [4, 4, 4]
    # adamw: 2.05 and 2.08 are within 0.1 of 2.0, and 0.001 is the grid's end.
    # quick: 1.95 is within 0.1 of 1.9; the next rate diverged, the grid's end is not reached.
    # slow: 2.3 is not within 0.1 of 2.1; the best rate is the grid's end.
    ends = {"adamw": (0.001, 0.004), "quick": (0.002, 0.004), "slow": (0.008, 0.008)}
    for group, (low, high) in ends.items():
        assert (rows.loc[group, "band_low"], rows.loc[group, "band_high"]) == (low, high)
    np.testing.assert_allclose(rows.loc[["adamw", "quick", "slow"], "octaves"], [2, 1, 0])
    assert rows["band_at_end"].to_dict() == {"adamw": True, "quick": False, "slow": True}
    assert rows["rate_at_end"].to_dict() == {"adamw": False, "quick": False, "slow": True}


def test_a_smaller_margin_gives_a_smaller_band(study: Sweep) -> None:
    rows = study_table(study, margin=0.06).set_index("group")
    assert rows.loc["adamw", "octaves"] == 1
    assert rows.loc["quick", "octaves"] == 1


def test_what_left_the_file_after_it_ran_was_tried(study: Sweep, tmp_path: Path) -> None:
    old = study.members[0]
    gone = replace(old, id="gone", overrides={**old.overrides, LEARNING_RATE: 0.5})
    planned = replace(gone, overrides={**old.overrides, LEARNING_RATE: 0.6}, run=tmp_path / "none")
    rows = study_table(replace(study, left_out=(old, gone, planned))).set_index("group")
    assert rows["tried"].to_dict() == {"quick": 4, "adamw": 5, "slow": 4}


# ---- memory, time, energy ------------------------------------------------------------------------


def test_memory_time_and_energy_are_those_of_the_runs(rows: pd.DataFrame) -> None:
    assert (rows["parameters"] == PARAMETERS).all()
    assert rows["state_bytes"].to_dict() == STATE
    assert (rows["lasting_bytes"] - rows["state_bytes"] == 8 * PARAMETERS).all()
    assert (rows["peak_bytes"] == 14 << 20).all()
    assert rows["step_seconds"].to_dict() == {"quick": 0.25, "adamw": 0.5, "slow": 0.5}
    assert rows.loc["quick", "energy_joules"] == 40
    assert rows["energy_joules"].isna().tolist() == [False, True, True]


def test_the_target_is_the_baselines_mean_and_deviation() -> None:
    target = target_of([2.02, 2.00, 1.98, 2.00])
    assert target.loss == pytest.approx(2.0)
    assert target.deviation == pytest.approx(math.sqrt(0.0008 / 3))
    assert target.margin == pytest.approx(3.09 * 0.0163299, rel=1e-5)
    assert math.isnan(target_of([2.0]).margin)


def test_steps_and_seconds_to_the_baselines_loss(rows: pd.DataFrame) -> None:
    # The margin is 0.0505. At step 30 (2.00 - 1.98) * 2 = 0.04, at step 40 0.06.
    assert tuple(rows.loc["quick", ["pass_steps", "pass_seconds"]]) == (40, 10)
    # The mean falls from 2.1 to 1.98 between the steps 20 and 30: at five sixths it is 2.
    mean = rows.loc["quick", ["mean_steps", "mean_seconds"]].astype(float)
    np.testing.assert_allclose(mean, [20 + 50 / 6, 0.25 * (20 + 50 / 6)])
    assert tuple(rows.loc["adamw", ["pass_steps", "pass_seconds"]]) == (40, 20)
    never = ["pass_steps", "pass_seconds", "mean_steps", "mean_seconds"]
    assert rows.loc["slow", never].isna().all()


def test_the_rule_is_that_of_the_mean_over_all_seeds() -> None:
    course = pd.DataFrame({"step": [0, 25, 50], "loss": [9, 3.279, 3.276], "seconds": [0, 1, 2]})
    target = Target(3.28, 0.004 / 3.09, 8)
    # (3.28 - 3.279) sqrt(n) >= 0.004 from n = 16, (3.28 - 3.276) sqrt(n) from n = 1.
    assert passing(course, 15, target).steps == 50
    assert passing(course, 17, target).steps == 25
    assert math.isnan(passing(course, 17, Target(3.28, math.nan, 1)).steps)


def test_a_diverged_run_has_no_mean_from_there_on(study: Sweep) -> None:
    runs = [study.runs[one.id] for one in study.confirmations if one.group == "slow"]
    course = mean_course(runs)
    assert course["step"].tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(course["loss"], [5, 4, (3 * 3 + 9) / 4, np.inf, np.inf])
    assert math.isnan(crossing(course, 2.3).steps)
    assert crossing(course, 4.5).steps == 5
    assert crossing(course, 6.0).steps == 0


# ---- front, families, names ----------------------------------------------------------------------


def test_the_front_has_what_nothing_beats_in_both() -> None:
    points = [(1, 2.5), (0, 3.0), (8, 2.1), (1, 2.4), (2, 2.4), (4, 2.0), (0.5, math.nan), (4, 2.0)]
    front = pareto_front(pd.DataFrame(points, columns=["bytes", "loss"]), "bytes", "loss")
    assert list(front.itertuples(index=False, name=None)) == [(0, 3.0), (1, 2.4), (4, 2.0)]
    assert front.index.tolist() == [1, 3, 5]


def test_every_group_of_the_study_has_a_family() -> None:
    for name in ("optimizers", "optimizers-equal-memory"):
        file = REPOSITORY / f"configs/studies/{name}.yaml"
        for group in yaml.safe_load(file.read_text())["sweep"]["groups"]:
            assert family_of(group["set"]) != OTHERS, group["name"]
    assert family_of({"optimizer.rule": "adamw"}) == "per element"
    assert family_of({"optimizer.rule": "adamw", "trainer.precision": "bf16"}) == FEW_BITS
    assert family_of({"optimizer.rule": "fp8_adamw"}) == FEW_BITS
    assert family_of({}) == OTHERS


def _names(axes: Axes) -> list[Annotation]:
    return [text for text in axes.texts if isinstance(text, Annotation)]


def _overlapping(figure: Figure, labels: list[Annotation]) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    # Of the text alone: an annotation's own extent has its line, too.
    boxes = {label.get_text(): Annotation.__mro__[1].get_window_extent(label) for label in labels}
    names = sorted(boxes)
    return [
        (a, b) for i, a in enumerate(names) for b in names[i + 1 :] if boxes[a].overlaps(boxes[b])
    ]


def test_names_of_close_points_do_not_cover_each_other() -> None:
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    points = np.array([(4 + 0.02 * (i % 5), 5 + 0.05 * i) for i in range(30)])
    labels = place_labels(axes, points, [f"name_{i:02d}" for i in range(30)], np.empty((0, 4)))
    assert len(labels) == 30
    assert not _overlapping(figure, labels)


# ---- what is printed and drawn -------------------------------------------------------------------


def test_the_markdown_has_a_row_per_group(table: pd.DataFrame) -> None:
    head, _, *lines = markdown(table, "adamw").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines)]
    quick, adamw, slow = (dict(zip(cells[0], line, strict=True)) for line in cells[1:])
    assert quick["optimizer"] == "quick"
    assert quick["difference to adamw"] == "-0.0300 ± 0.0318"
    assert quick["p, Holm"] == "0.058"
    assert quick["band, octaves"] == "1.0 (0.002 .. 0.004)"
    assert quick["state, B/parameter"] == "0.12"
    assert quick["passes at"] == "40 steps, 10.0 s"
    assert quick["mean there at"] == "28 steps, 7.1 s"
    assert quick["energy, J"] == "40"
    assert adamw["band, octaves"] == "≥ 2.0 (0.001 .. 0.004)"
    assert adamw["difference to adamw"] == ""
    assert adamw["energy, J"] == "-"
    assert slow["rate"] == "0.008 (edge)"
    assert slow["loss"] == "2.2000 ± 0.0000 (1 of 4 diverged)"
    assert slow["passes at"] == "-"
    assert "parameters" not in cells[0]


def test_columns_are_there_where_they_say_something(table: pd.DataFrame) -> None:
    without = markdown(table.assign(energy_joules=np.nan), "adamw")
    assert "energy" not in without
    wider = markdown(table.assign(parameters=[100, 200, 300]), "adamw")
    assert "| parameters |" in wider
    assert "lasting, MiB" in wider


def test_a_sweep_that_confirms_nothing_says_so(folder: Path) -> None:
    sweep = replace(read_sweep(folder), confirmations=())
    text = markdown(study_table(sweep), "adamw")
    assert text.count("not confirmed") == 3
    assert text.count("1.9000 (not confirmed)") == 1


def test_a_baseline_without_runs_is_refused(tmp_path: Path) -> None:
    runs = [PlannedRun("adamw", 1, {LEARNING_RATE: 0.1}, None)]
    with pytest.raises(RunFileError, match="baseline adamw has no finished run"):
        study_table(read_sweep(write_planned(tmp_path, "adamw", runs)))


def test_the_program_prints_and_draws(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure, rates = tmp_path / "loss.png", tmp_path / "rates.svg"
    assert main([str(folder), "--figure", str(figure), "--rates", str(rates)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| optimizer | rate |")
    assert "3.09 s = 0.0505; target 2.0000 and s 0.0163" in printed
    assert "over 4 seeds" in printed
    assert figure.stat().st_size > 10_000
    assert rates.stat().st_size > 10_000
    assert main([str(tmp_path)]) == 1
    assert "manifest.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(folder), "--figure", "loss.txt"])


def test_the_figure_names_every_group_beside_its_point(table: pd.DataFrame) -> None:
    figure = loss_bytes_figure(table, "adamw")
    (axes,) = figure.axes
    labels = _names(axes)
    assert {"adamw", "quick"} <= {label.get_text() for label in labels}
    assert not _overlapping(figure, [label for label in labels if label.get_text()])
    points = {bar.get_label(): bar.lines[0].get_xydata()[0] for bar in axes.containers}
    np.testing.assert_allclose(points["_quick"], [0.12, 1.97])
    np.testing.assert_allclose(points["_adamw"], [8, 2.0])
    (front,) = [line for line in axes.get_lines() if line.get_label() == "_front"]
    np.testing.assert_allclose(np.asarray(front.get_xydata())[0], [0.12, 1.97])


def test_a_loss_far_above_stands_at_the_edge_with_its_number(table: pd.DataFrame) -> None:
    many = pd.concat([table.assign(group=table["group"] + str(i)) for i in range(3)])
    many["loss"] += np.linspace(0, 0.01, len(many))
    far = table.iloc[[2]].assign(group="far", loss=7.0)
    figure = loss_bytes_figure(pd.concat([many, far], ignore_index=True), "adamw0")
    (axes,) = figure.axes
    assert axes.get_ylim()[1] < 3
    assert "far 7.00 ↑" in [label.get_text() for label in _names(axes)]


def test_the_rates_have_a_panel_per_family_with_the_baseline(study: Sweep) -> None:
    figure = rates_figure(study)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["per element", "no second moment"]
    for axes, others in zip(figure.axes, (["quick"], ["slow"]), strict=True):
        names = [line.get_label() for line in axes.get_lines()]
        assert [name for name in names if not name.startswith("_")] == ["adamw", *others]
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), [2.05, 2.0, 2.08, 2.3])


# ---- equal memory --------------------------------------------------------------------------------


def test_the_largest_that_fits_is_found() -> None:
    for bound in (5, 6, 8, 13, 100):
        expected = max(value for value in range(5, bound + 1, 3))
        assert widths.largest(lambda value, bound=bound: value <= bound, 5, 3) == expected


def test_widths_spend_what_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(_: Path, settings: dict[str, Any]) -> dict[str, int]:
        width = settings["model.n_embd"]
        mlp = settings["model.intermediate_size"] or -(-8 * width // 3 // 16) * 16
        count = width * (width + mlp)
        return {"parameter_bytes": count, "gradient_bytes": count, "optimizer_bytes": 0}

    def sizes(budget: int) -> list[int]:
        return list(widths.fitted(Path("file"), {}, budget, 8, 16).values())

    monkeypatch.setattr(widths, "plan", plan)
    # 2 * 16 * (16 + 48) = 2048 and 2 * 24 * (24 + 64) = 4224 fit. 2 * 24 * (24 + 68) = 4416 does,
    # with 72 it is 4608; 2 * 16 * (16 + 112) = 4096 does, with 116 it is 4224.
    assert sizes(4500) == [24, 68]
    assert sizes(4100) == [16, 112]
    assert sizes(1000) == [16, 0]


@pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")
def test_the_models_of_equal_memory_take_the_same_bytes() -> None:
    """To 1 %, by the program's own plan."""
    config = REPOSITORY / "configs/studies/optimizers-equal-memory.yaml"
    groups = yaml.safe_load(config.read_text())["sweep"]["groups"]
    found = {one["name"]: widths.lasting_bytes(widths.plan(config, one["set"])) for one in groups}
    for name, size in found.items():
        assert 0.99 <= size / found["adamw"] <= 1, name
