"""Differences in loss, paired by seed, and their figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from make_runs import write_sweep

from blockwise.analysis.sweep_tables import best_configurations
from blockwise.figures.loss_difference import loss_difference_figure, loss_differences
from blockwise.figures.style import save_figure
from blockwise.files.sweep import Sweep, read_sweep


def test_a_difference_is_the_loss_above_the_baseline_of_the_same_seed(sweep: Sweep) -> None:
    table = loss_differences(sweep)
    best = best_configurations(sweep).set_index("group")["ids"]
    seeds = {member.id: member.seed for member in sweep.members}
    last = {
        (group, seeds[member]): sweep.runs[member].evaluations["loss"].iloc[-1]
        for group, ids in best.items()
        for member in ids
    }
    assert set(table["group"]) == {"adam_mini"}
    ends = table[table["step"] == table["step"].max()].set_index("seed")["difference"]
    assert len(ends) == 3
    for seed, difference in ends.items():
        expected = last["adam_mini", seed] - last["adamw", seed]
        np.testing.assert_allclose(difference, expected, rtol=1e-12)


def test_the_figure_has_seeds_and_their_mean(sweep: Sweep) -> None:
    curves, differences = loss_difference_figure(sweep).axes
    assert "Difference to adamw" in differences.get_title(loc="left")
    (mean,) = [one for one in differences.get_lines() if one.get_label() == "adam_mini"]
    table = loss_differences(sweep)
    np.testing.assert_allclose(mean.get_ydata(), table.groupby("step")["difference"].mean())
    assert len(differences.get_lines()) == 1 + 3 + 1  # zero, seeds, mean
    assert len(curves.get_lines()) == 2


def test_a_sweep_without_a_baseline_or_runs_says_so(sweep: Sweep, tmp_path: Path) -> None:
    assert loss_differences(replace(sweep, baseline="another")).empty
    empty = read_sweep(write_sweep(tmp_path, lambda *_: None))
    assert loss_differences(empty).empty
    figure = loss_difference_figure(empty)
    save_figure(figure, tmp_path / "empty.png")
    assert all(axes.texts for axes in figure.axes)
