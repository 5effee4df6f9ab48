"""The study of roles, on sweeps and criteria in which the answer is planted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from make_runs import PlannedRun, RunSpec, write_planned
from make_scores import write_scores
from test_notebook import execute, images

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep, read_sweep
from blockwise.statistics.student_t import t_quantile
from studies.attribution import main
from studies.attribution_figure import attribution_figure
from studies.attribution_tables import attribution_table, role_differences
from studies.criteria import criteria_by_size, criteria_table, find_scores
from studies.gain_prediction import criteria_correlation
from studies.ranks import rank_correlation

# What refining a role adds to the loss, nats; coarsening adds as much.
GAINS = {"query": -0.01, "key": -0.02, "value": -0.04, "mlp_in": -0.08, "lm_head": -0.16}
GAP = -0.4
SEEDS = (1, 2)
# Of a seed, in every run; and of a seed in one run, smaller than the gains are apart.
LUCK = {1: 0.3, 2: -0.2}
NOISE = 0.002


def _effects() -> dict[str, float]:
    effects = {"adam_mini": 0.0, "adamw": GAP}
    for role, gain in GAINS.items():
        effects |= {f"refine_{role}": gain, f"coarsen_{role}": -gain}
    return effects


def _run(group: str, effect: float, seed: int, width: int, steps: int) -> PlannedRun:
    noise = 0.0 if group == "adam_mini" else NOISE * (2 * seed - 3)  # 0 in the mean
    loss = 2.0 + 10 / width + LUCK[seed] + effect * steps / 450 + noise
    overrides = {
        "optimizer.partition.rule": "adam_mini", "model.n_embd": width, "trainer.steps": steps
    }  # fmt: skip
    spec = RunSpec(steps=20, evaluate_every=10, seed=seed, final_loss=loss, partition=_SECTIONS)
    if (group, seed, width) == ("coarsen_lm_head", 2, 64):
        spec.status, spec.message = "diverged", "loss nan"
    return PlannedRun(group, seed, overrides, spec)


_SECTIONS = RunSpec().partition[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two widths, two lengths; with criteria that order the roles as the gains do."""
    folder = write_planned(
        tmp_path_factory.mktemp("attribution"),
        "adam_mini",
        (
            _run(group, effect, seed, width, steps)
            for width in (32, 64)
            for steps in (150, 450)
            for group, effect in _effects().items()
            for seed in SEEDS
        ),
    )
    for width in (32, 64):
        write_scores(folder / f"scores-{width}", _rows(GAINS))
    write_scores(folder / "scores-old", [])  # another folder
    return folder


def _rows(gains: Mapping[str, float]) -> list[dict[str, object]]:
    """Two tensors per role. spread and lift say what refining gains, signal_to_noise the contrary;
    diagonal_inside was not measured. What other candidates say is not to be read."""
    rows = []
    for role, gain in gains.items():
        for layer in (0, 1):
            usual = {"tensor": f"{layer}.{role}", "role": role, "layer": layer}
            worse = -gain + (-1) ** layer * 0.001
            rows.append(usual | {"candidate": "whole", "spread": 99.0, "lift": 99.0})
            rows.append(
                usual
                | {"adam_mini": 1, "spread": worse, "lift": 1 - worse, "signal_to_noise": worse}
            )
    return rows


@pytest.fixture(scope="module")
def roles(folder: Path) -> Sweep:
    return read_sweep(folder)


# ---- the table -----------------------------------------------------------------------------------


def test_a_planted_gain_is_recovered_with_its_sign_and_interval(roles: Sweep) -> None:
    table = attribution_table(roles).set_index(["n_embd", "steps", "role"])
    assert list(table.loc[(32, 150)].index) == list(GAINS)
    assert len(table) == 4 * len(GAINS)
    half_width = t_quantile(1) * NOISE  # the standard deviation of -1 and 1 is the root of 2
    for role, gain in GAINS.items():
        for steps in (150, 450):
            row = table.loc[(32, steps, role)]
            np.testing.assert_allclose(row["refine"], gain * steps / 450, atol=1e-9)
            np.testing.assert_allclose(row["coarsen"], -gain * steps / 450, atol=1e-9)
            np.testing.assert_allclose(row["refine_half_width"], half_width, atol=1e-9)
            np.testing.assert_allclose(row["gap"], GAP * steps / 450, atol=1e-9)
            np.testing.assert_allclose(row["share"], gain / GAP, atol=1e-9)


def test_a_diverged_run_is_left_out_of_its_mean_and_counted(roles: Sweep) -> None:
    table = attribution_table(roles).set_index(["n_embd", "role"]).loc[(64, "lm_head")]
    assert table["refine_seeds"].tolist() == [2, 2]
    assert table["coarsen_seeds"].tolist() == [1, 1]
    assert table["coarsen_half_width"].isna().all()
    expected = -GAINS["lm_head"] - NOISE  # seed 1
    np.testing.assert_allclose(table["coarsen"].iloc[1], expected, atol=1e-9)


def test_a_run_is_compared_with_its_own_seed_size_and_length(roles: Sweep) -> None:
    differences = role_differences(roles)
    assert len(differences) == 4 * len(SEEDS) * (1 + 2 * len(GAINS))
    one = differences.query("n_embd == 64 and steps == 150 and role == 'value' and seed == 2")
    by_change = one.set_index("change")["difference"]
    np.testing.assert_allclose(by_change["refine"], GAINS["value"] / 3 + NOISE, atol=1e-9)


def test_another_sweep_is_refused(sweep: Sweep) -> None:
    with pytest.raises(RunFileError, match="sets no model.n_embd"):
        role_differences(sweep)


def test_the_figure_has_a_panel_per_size_and_length(roles: Sweep) -> None:
    figure = attribution_figure(roles)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["32 wide", "32 wide", "64 wide", "64 wide"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(GAINS)
    axes = figure.axes[1]
    marks = {bar.get_label(): bar.lines[0].get_xdata(orig=False) for bar in axes.containers}
    np.testing.assert_allclose(marks["refine"], list(GAINS.values()), atol=1e-9)
    np.testing.assert_allclose(marks["coarsen"], [-gain for gain in GAINS.values()], atol=1e-9)


# ---- criteria ------------------------------------------------------------------------------------


def test_criteria_are_those_of_adam_minis_structures(folder: Path) -> None:
    table = criteria_table(folder / "scores-32").set_index("role")
    assert list(table.index) == list(GAINS)
    assert (table["tensors"] == 2).all()
    np.testing.assert_allclose(table["spread"], [-gain for gain in GAINS.values()])
    assert table["diagonal_inside"].isna().all()
    assert find_scores(folder) == {w: folder / f"scores-{w}" for w in (32, 64)}


def test_a_monotone_criterion_predicts_perfectly_and_its_contrary_fails(
    roles: Sweep, folder: Path
) -> None:
    table = criteria_correlation(roles, criteria_by_size(find_scores(folder)), resamples=300)
    table = table.set_index(["n_embd", "steps", "criterion"])
    assert len(table) == (4 + 1) * 4
    cells = [*((width, steps) for width in (32, 64) for steps in (150, 450)), ("all", "all")]
    for cell in cells:
        for criterion, expected in (("spread", 1), ("lift", 1), ("signal_to_noise", -1)):
            row = table.loc[(*cell, criterion)]
            assert row["roles"] == len(GAINS)
            assert row["correlation"] == pytest.approx(expected)
            assert min(expected * row["low"], expected * row["high"]) > 0.5
        missing = table.loc[(*cell, "diagonal_inside")]
        assert missing["roles"] == 0
        assert missing[["correlation", "low", "high"]].isna().all()


def test_a_shuffled_criterion_predicts_nothing(roles: Sweep, tmp_path: Path) -> None:
    shuffled = dict(zip(GAINS, np.array(list(GAINS.values()))[[2, 4, 1, 0, 3]], strict=True))
    criteria = criteria_by_size({32: write_scores(tmp_path, _rows(shuffled))})
    table = criteria_correlation(roles, criteria, resamples=300)
    assert set(table["n_embd"]) == {32, "all"}
    row = table.query("n_embd == 32 and steps == 450 and criterion == 'spread'").iloc[0]
    # Ranks 1 to 5 against 3, 5, 2, 1, 4: 1 - 6 (4 + 9 + 1 + 9 + 1) / (5 * 24).
    assert row["correlation"] == pytest.approx(1 - 6 * 24 / 120)
    assert row["low"] < 0 < row["high"]


def test_the_bootstrap_draws_seeds_too(tmp_path: Path) -> None:
    """Of two roles every draw with both has 1 or -1: which one hangs on the seeds alone."""
    effects = {"query": (-0.30, 0.10, 0.0), "key": (0.0, -0.01, 0.0)}
    runs = [PlannedRun("adam_mini", seed, _SETTING, _flat(2.0)) for seed in (1, 2, 3)]
    for role, of_seeds in effects.items():
        for seed, effect in zip((1, 2, 3), of_seeds, strict=True):
            runs.append(PlannedRun(f"refine_{role}", seed, _SETTING, _flat(2.0 + effect)))
    sweep = read_sweep(write_planned(tmp_path, "adam_mini", runs))
    criteria = pd.DataFrame({"n_embd": 32, "role": ["query", "key"], "spread": [2.0, 1.0]})
    for name in ("lift", "diagonal_inside", "signal_to_noise"):
        criteria[name] = np.nan
    table = criteria_correlation(sweep, criteria, resamples=300).set_index("criterion")
    row = table[table["n_embd"] == 32].loc["spread"]
    assert (row["correlation"], row["low"], row["high"]) == (1, -1, 1)
    again = criteria_correlation(sweep, criteria, resamples=300).set_index("criterion")
    pd.testing.assert_frame_equal(table, again)


_SETTING = {"model.n_embd": 32, "trainer.steps": 150}


def _flat(loss: float) -> RunSpec:
    return RunSpec(steps=20, evaluate_every=10, final_loss=loss, partition=_SECTIONS)


def test_ranks_average_ties_and_leave_out_what_is_not_known() -> None:
    nan = math.nan
    x = [[1, 2, 2, 4], [1, 2, 3, nan], [1, 1, 1, 1], [1, nan, nan, 2]]
    y = [[10, 20, 30, 40], [3, 2, 1, 9], [1, 2, 3, 4], [nan, 1, 2, 5]]
    found = rank_correlation(x, y)
    # Ranks 1, 2.5, 2.5, 4 and 1 to 4: covariance 4.5 over the root of 4.5 * 5.
    np.testing.assert_allclose(found[:2], [4.5 / math.sqrt(22.5), -1])
    assert np.isnan(found[2:]).all()


# ---- command line and notebook -------------------------------------------------------------------


def test_the_program_prints_three_tables(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--scores", f"64={folder / 'scores-64'}"]) == 0
    first, criteria, correlation = capsys.readouterr().out.strip().split("\n\n")
    assert "coarsen_half_width" in first
    assert len(criteria.splitlines()) == 2 + len(GAINS)
    assert len(correlation.splitlines()) == 2 + 3 * 4  # two lengths and the pooled ones
    assert main([str(folder / "members")]) == 1
    assert "manifest.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(folder), "--scores", "64"])


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(folder))
    outputs = execute("attribution.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True]
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert len(tables) == 4
    assert "signal_to_noise" in tables[-1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
