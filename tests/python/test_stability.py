"""Stability bands, on parabolas of the loss over the logarithm of the rate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from make_runs import PlannedRun, RunSpec, llama_partition, per_element, write_planned
from test_notebook import execute, images

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import LEARNING_RATE, read_sweep
from blockwise.statistics.intervals import mean_interval
from studies.stability import stability_table
from studies.stability_figure import stability_figure

RATES = [0.001 * 2**i for i in range(6)]
SECTIONS = llama_partition()[:3]
SPEC = RunSpec(steps=20, evaluate_every=10, partition=SECTIONS)
# Of every seed of a group, in the loss; the second group's is not the baseline's.
LUCK = {"per_element": (0.0, 0.03, -0.03), "rows": (0.01, 0.01, -0.02)}
# Place of the lowest loss in RATES, and the loss there.
LOWEST = {"per_element": (2, 2.0), "rows": (3, 2.1)}


def _loss(group: str, place: int) -> float:
    """0.02 nats times the square of the distance in octaves: 0.05 is reached 1.58 octaves away."""
    best, lowest = LOWEST[group]
    return lowest + 0.02 * (place - best) ** 2


def _runs(width: int | None = None) -> list[PlannedRun]:
    runs = []
    for group, luck in LUCK.items():
        for place, rate in enumerate(RATES):
            for seed, of_seed in enumerate(luck, start=1):
                overrides = {LEARNING_RATE: rate} | ({"model.n_embd": width} if width else {})
                partition = SECTIONS if group == "rows" else per_element(SECTIONS)
                spec = replace(SPEC, final_loss=_loss(group, place) + of_seed, partition=partition)
                if (group, place, seed) == ("rows", 4, 2):
                    spec = replace(spec, status="diverged", message="loss nan")
                runs.append(PlannedRun(group, seed, overrides, spec))
    return runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The group `rows` has a diverged seed one octave above its best rate."""
    return write_planned(tmp_path_factory.mktemp("stability"), "per_element", _runs())


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    table = stability_table(read_sweep(folder), tolerance=0.05, unusable=2.15)
    return table.set_index("group")


def test_the_best_rate_and_its_loss(table: pd.DataFrame) -> None:
    assert list(table.index) == ["per_element", "rows"]
    assert table["best_rate"].tolist() == [RATES[2], RATES[3]]
    np.testing.assert_allclose(table["loss"], [2.0, 2.1], atol=1e-9)
    expected = [mean_interval(luck).half_width for luck in LUCK.values()]
    np.testing.assert_allclose(table["half_width"], expected, atol=1e-9)
    assert table["seeds"].tolist() == [3, 3]


def test_the_difference_is_paired_by_seed(table: pd.DataFrame) -> None:
    pairs = [0.1 + b - a for a, b in zip(*LUCK.values(), strict=True)]
    interval = mean_interval(pairs)
    row = table.loc["rows"]
    np.testing.assert_allclose(row["difference"], interval.mean, atol=1e-9)
    np.testing.assert_allclose(row["difference_half_width"], interval.half_width, atol=1e-9)
    assert math.isnan(table.loc["per_element", "difference"])


def test_a_band_ends_at_the_tolerance_and_before_a_diverged_rate(table: pd.DataFrame) -> None:
    both, cut = table.loc["per_element"], table.loc["rows"]
    assert (both["band_low"], both["band_high"]) == (RATES[1], RATES[3])
    # Without the diverged seed it would reach RATES[4].
    assert (cut["band_low"], cut["band_high"]) == (RATES[2], RATES[3])
    np.testing.assert_allclose(table["octaves"], [2, 1])
    assert not table["at_end"].any()


def test_limits_are_the_lowest_rates(table: pd.DataFrame) -> None:
    assert math.isnan(table.loc["per_element", "diverged_rate"])
    assert table.loc["rows", "diverged_rate"] == RATES[4]
    # 2.0 + 0.02 * 9 = 2.18 is the first above 2.15; in `rows` the diverged rate comes before.
    assert table["unusable_rate"].tolist() == [RATES[5], RATES[4]]


def test_memory_is_that_of_the_partition(table: pd.DataFrame) -> None:
    elements = sum(section.rows * section.columns for section in SECTIONS)
    blocks = sum(section.blocks for section in SECTIONS)
    assert table["values"].tolist() == [elements, blocks]
    assert table["optimizer_bytes"].tolist() == [8 * elements, 4 * (elements + blocks)]


def test_a_wide_tolerance_ends_with_the_grid(folder: Path) -> None:
    table = stability_table(read_sweep(folder), tolerance=1.0).set_index("group")
    assert "unusable_rate" not in table
    assert table["band_low"].tolist() == [RATES[0], RATES[0]]
    assert table["band_high"].tolist() == [RATES[5], RATES[3]]
    assert table["at_end"].tolist() == [True, True]


def test_a_band_is_contiguous(tmp_path: Path) -> None:
    losses = [2.04, 2.2, 2.0, 2.01, 2.3, 2.02]
    runs = [
        PlannedRun("one", 1, {LEARNING_RATE: rate}, replace(SPEC, final_loss=loss))
        for rate, loss in zip(RATES, losses, strict=True)
    ]
    (row,) = stability_table(read_sweep(write_planned(tmp_path, "one", runs))).to_dict("records")
    assert (row["band_low"], row["band_high"]) == (RATES[2], RATES[3])


def test_what_else_is_varied_has_rows_of_its_own(tmp_path: Path) -> None:
    runs = [
        PlannedRun(group, 1, {LEARNING_RATE: rate, "model.n_embd": width}, spec)
        for width, shift in ((96, 0), (32, 1))
        for group, lowest in (("base", 2.0), ("other", 2.1 + shift))
        for place, rate in enumerate(RATES[:3])
        for spec in [replace(SPEC, final_loss=lowest + 0.1 * abs(place - 1 - shift))]
    ]
    sweep = read_sweep(write_planned(tmp_path, "base", runs))
    table = stability_table(sweep).set_index(["model.n_embd", "group"])
    assert list(table.index) == [(w, group) for w in (32, 96) for group in ("base", "other")]
    assert table["best_rate"].tolist() == [RATES[2], RATES[2], RATES[1], RATES[1]]
    np.testing.assert_allclose(table["difference"].dropna(), [1.1, 0.1], atol=1e-9)
    assert len(stability_figure(sweep).axes) == 4


def test_nothing_finished_gives_no_numbers_and_a_figure(tmp_path: Path) -> None:
    runs = [PlannedRun("one", 1, {LEARNING_RATE: rate}, None) for rate in RATES]
    sweep = read_sweep(write_planned(tmp_path, "one", runs))
    (row,) = stability_table(sweep, unusable=3.0).to_dict("records")
    assert row["seeds"] == 0
    for column in ("best_rate", "loss", "band_low", "diverged_rate", "unusable_rate", "values"):
        assert math.isnan(row[column])
    assert stability_figure(sweep).axes[0].texts


def test_a_sweep_without_rates_is_refused(tmp_path: Path) -> None:
    sweep = read_sweep(write_planned(tmp_path, "one", [PlannedRun("one", 1, {}, None)]))
    with pytest.raises(RunFileError, match="learning_rate"):
        stability_table(sweep)


def test_the_figure_draws_the_bands(folder: Path, table: pd.DataFrame) -> None:
    losses, bands = stability_figure(read_sweep(folder)).axes
    drawn = {line.get_label(): list(line.get_xdata()) for line in bands.get_lines()}
    for group, row in table.iterrows():
        assert drawn[f"_band {group}"] == [row["band_low"], row["band_high"]]
    line = next(line for line in losses.get_lines() if line.get_label() == "per_element")
    expected = [_loss("per_element", place) for place in range(6)]
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-9)


@pytest.mark.parametrize(("name", "pictures"), [("partitions", 1), ("query-key-factored", 2)])
def test_the_notebooks_run(
    name: str, pictures: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(folder))
    outputs = execute(f"{name}.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True] * pictures
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "diverged" in tables[0]
    assert "octaves" in tables[1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


def test_a_key_that_one_group_alone_sweeps_is_refused(tmp_path: Path) -> None:
    plain = [run for run in _runs() if run.group != "rows"]
    varied = [
        replace(run, overrides=run.overrides | {"optimizer.beta2": beta2})
        for run in _runs()
        for beta2 in (0.95, 0.99)
        if run.group == "rows"
    ]
    sweep = read_sweep(write_planned(tmp_path, "per_element", plain + varied))
    with pytest.raises(RunFileError, match="not every group sweeps optimizer.beta2"):
        stability_table(sweep)
