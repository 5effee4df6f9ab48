"""The line through gaps at several sizes: closed forms, coverage, and what cannot be compared."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from make_runs import CONFIRM_SEEDS, RunSpec, write_sweep

from blockwise.figures.style import save_figure
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import LEARNING_RATE, read_sweep
from blockwise.statistics.student_t import t_quantile
from studies.sizes.gap_by_size import gap_line, gap_table, main, report
from studies.sizes.gap_figure import gap_figure


def table(gaps: list[float], sigma: list[float], sizes: list[float]) -> pd.DataFrame:
    seeds = 3
    return pd.DataFrame(
        {
            "sweep": [f"s{i}" for i in range(len(gaps))],
            "parameters": sizes,
            "tokens": [10 * size for size in sizes],
            "seeds": seeds,
            "gap": gaps,
            "half_width": [t_quantile(seeds - 1) * each for each in sigma],
        }
    )


def test_points_on_a_line_give_the_line() -> None:
    sizes = [1e5, 1e6, 1e7, 1e8]
    line = gap_line(table([0.4, 0.3, 0.2, 0.1], [0.01, 0.02, 0.01, 0.03], sizes))
    assert line.slope == pytest.approx(-0.1)
    assert line.intercept == pytest.approx(0.9)
    assert line.birge == 1.0
    value, half = line.at(1e9)
    assert value == pytest.approx(0.0, abs=1e-12)
    assert half > 0


def test_two_points_say_nothing_of_their_doubt() -> None:
    line = gap_line(table([0.4, 0.3], [0.01, 0.01], [1e5, 1e6]))
    assert line.degrees_of_freedom == 0
    assert math.isnan(line.at(1e9)[1])


def test_points_far_from_a_line_widen_its_interval() -> None:
    sizes = [1e5, 1e6, 1e7, 1e8]
    near = gap_line(table([0.40, 0.30, 0.20, 0.10], [0.01] * 4, sizes))
    far = gap_line(table([0.50, 0.20, 0.30, 0.10], [0.01] * 4, sizes))
    assert far.birge > 5
    assert far.at(1e9)[1] == pytest.approx(near.at(1e9)[1] * far.birge)


def test_the_interval_covers_the_truth() -> None:
    """With known s, Birge's ratio of at least 1 and Student's t cover 95 % or more."""
    generator = np.random.default_rng(1)
    sizes, sigma = [3e5, 2e6, 2e7, 1e8], np.array([0.02, 0.03, 0.01, 0.02])
    truth = 0.5 - 0.05 * np.log10(sizes)
    covered = 0
    for _ in range(500):
        gaps = truth + sigma * generator.standard_normal(4)
        value, half = gap_line(table(list(gaps), list(sigma), sizes)).at(1e9)
        covered += abs(value - (0.5 - 0.05 * 9)) <= half
    # 500 draws at 0.95: three standard errors below are 0.92.
    assert covered / 500 >= 0.92


def test_sweeps_give_their_gaps_and_the_command_prints_them(
    sweep_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = read_sweep(sweep_folder)
    gaps = gap_table([sweep, sweep], "adam_mini", "adamw")
    assert gaps["gap"].iloc[0] == pytest.approx(0.02, abs=0.01)  # the floors of the made runs
    assert gaps["seeds"].iloc[0] == 3
    twice = gaps.assign(parameters=[1_000_000, 10_000_000])
    assert "| 1,000,000 |" in report(twice, gap_line(twice), [1e9])
    assert main([str(sweep_folder), "--group", "none"]) == 1
    assert "no group none" in capsys.readouterr().err
    assert main([str(sweep_folder)]) == 1
    assert "a line needs 2" in capsys.readouterr().err


def test_the_figure_shows_every_point_and_goes_on_to_what_is_predicted(tmp_path: Path) -> None:
    gaps = table([0.12, 0.17, 0.05, 0.04], [0.02, 0.03, 0.01, 0.02], [3e5, 2e6, 2e7, 1e8])
    figure = gap_figure(gaps, gap_line(gaps), [1e9], "adam_mini", "adamw")
    (axes,) = figure.axes
    assert axes.get_xlim()[1] >= 1e9
    low, high = axes.get_ylim()
    assert low < 0 and high > 0.17
    # Two points have no band, and two seeds an interval that would flatten the rest.
    two = table([0.4, 0.3], [0.01, 50.0], [1e5, 1e6])
    axes = gap_figure(two, gap_line(two), [], "adam_mini", "adamw").axes[0]
    assert axes.get_xlim()[1] < 1e7
    save_figure(figure, tmp_path / "gap.png")
    assert (tmp_path / "gap.png").stat().st_size > 5_000


def test_a_sweep_at_one_rate_has_a_gap_too(sweep_folder: Path) -> None:
    sweep = read_sweep(sweep_folder)
    rate = sweep.members[0].overrides[LEARNING_RATE]
    at_one = [
        replace(member, overrides={k: v for k, v in member.overrides.items() if k != LEARNING_RATE})
        for member in sweep.members
        if member.overrides.get(LEARNING_RATE) == rate
    ]
    gaps = gap_table([replace(sweep, members=tuple(at_one))], "adam_mini", "adamw")
    assert gaps["seeds"].iloc[0] >= 2
    assert math.isfinite(gaps["half_width"].iloc[0])


def test_confirmed_runs_are_what_is_compared(tmp_path: Path) -> None:
    best = [(group, 6e-3, seed) for group in ("adamw", "adam_mini") for seed in CONFIRM_SEEDS]

    def shifted(name: str, spec: RunSpec) -> RunSpec:
        if spec.seed in CONFIRM_SEEDS and name.startswith("adam_mini"):
            spec.floor += 0.5
        return spec

    sweep = read_sweep(write_sweep(tmp_path, shifted, best))
    gaps = gap_table([sweep], "adam_mini", "adamw")
    assert gaps["seeds"].iloc[0] == len(CONFIRM_SEEDS)
    assert gaps["gap"].iloc[0] > 0.4


def test_a_sweep_without_a_finished_run_is_named(tmp_path: Path, sweep_folder: Path) -> None:
    sweep = read_sweep(sweep_folder)
    with pytest.raises(RunFileError, match="no run has finished"):
        gap_table([replace(sweep, runs={})], "adam_mini", "adamw")
