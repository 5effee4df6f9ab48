"""The studies of quadratics: tables of planted sweeps, the driver, and the preconditioner."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from make_runs import RunSpec, write_run
from test_notebook import execute, images

from blockwise.files.hdf5_file import RunFileError
from blockwise.statistics.intervals import mean_interval
from studies import REPOSITORY, quadratic_sweeps
from studies.preconditioner import (
    condition_ratio_table,
    condition_ratios,
    diagonal_share,
    preconditioned_condition,
    rotation_path,
)
from studies.preconditioner_figure import condition_ratio_figure
from studies.program import program
from studies.quadratic_figure import quadratic_figure
from studies.quadratic_sweeps import STUDY, run_sweeps
from studies.quadratic_tables import SMALLEST_LOSS, quadratic_table
from studies.quadratics import main

RATES = (0.01, 0.1, 1.0)
PROBLEMS = (1, 2, 3)
INITIAL = {1: 500.0, 2: 800.0, 3: 1100.0}

# log10(final / initial) by rate, without what a problem adds; None: problem 2 diverges.
GAINS: dict[str, dict[float, float | None]] = {
    "gd": {0.01: -0.5, 0.1: -1.5, 1.0: None},
    "adam_frozen": {0.01: -1.0, 0.1: -3.0, 1.0: -6.0},
    "blocks_frozen": {0.01: -2.0, 0.1: -9.0, 1.0: -4.0},
}
LUCK = {1: -0.2, 2: 0.1, 3: 0.4}


def write_planted(folder: Path, block_condition: float) -> None:
    """A sweep whose gains are GAINS times the block condition, and one group without rates."""
    members = [
        write_member(folder, group, rate, problem, gain and gain * block_condition + LUCK[problem])
        for group, gains in GAINS.items()
        for rate, gain in gains.items()
        for problem in PROBLEMS
    ]
    members += [write_member(folder, "best_rates", None, p, -np.inf) for p in PROBLEMS]
    manifest = {"format": "blockwise-sweep", "version": 1, "name": "quadratics", "hash": "0",
                "baseline": "gd", "members": members}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_member(
    folder: Path, group: str, rate: float | None, problem: int, gain: float | None
) -> dict[str, object]:
    """One run, and its entry of the manifest; the diverged ones have a tempting loss."""
    name = f"{group}-{rate}-{problem}"
    path = folder / "members" / name / "run.h5"
    status = "diverged" if gain is None and problem == 2 else "finished"
    write_run(path, RunSpec(steps=4, evaluate_every=2, status=status))
    with h5py.File(path, "r+") as file:
        file["steps/loss"][0] = INITIAL[problem]
        file["evaluations/loss"][-1] = INITIAL[problem] * 10.0 ** (-30 if gain is None else gain)
    overrides: dict[str, object] = {"optimizer.rule": "adamw", "model.problem": problem}
    if rate is not None:
        overrides["optimizer.learning_rate"] = rate
    return {"id": name, "group": group, "seed": 1, "overrides": overrides,
            "run": f"members/{name}/run.h5"}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps, and folders that are none."""
    folder = tmp_path_factory.mktemp("quadratics")
    for name, block_condition in (("1000-1.1", 1.1), ("10-2", 2.0)):
        write_planted(folder / name, block_condition)
    for name in ("rates", "5000-8", "a-b"):
        (folder / name).mkdir()
    (folder / "a-b" / "manifest.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def table(study: Path) -> pd.DataFrame:
    return quadratic_table(study)


def test_the_best_rates_and_their_intervals_are_recovered(table: pd.DataFrame) -> None:
    assert table["condition"].tolist() == [10] * 4 + [1000] * 4
    assert table["group"].tolist()[:4] == ["gd", "adam_frozen", "blocks_frozen", "best_rates"]
    row = table.set_index(["condition", "group"]).loc[(1000, "blocks_frozen")]
    assert (row["learning_rate"], row["at_end"], row["problems"]) == (0.1, False, 3)
    expected = mean_interval([-9 * 1.1 + luck for luck in LUCK.values()])
    np.testing.assert_allclose(
        [row["mean"], row["low"], row["high"]], [expected.mean, expected.low, expected.high]
    )


def test_a_rate_with_a_diverged_problem_does_not_win(table: pd.DataFrame) -> None:
    """Two of gd's three problems end lowest by far at the rate 1."""
    rows = table.set_index(["condition", "group"])
    assert rows.loc[(10, "gd"), "learning_rate"] == 0.1
    assert rows.loc[(10, "gd"), "failed"] == 0


def test_the_ends_of_the_grid_are_marked(table: pd.DataFrame) -> None:
    rows = table.query("condition == 10").set_index("group")
    assert rows["at_end"].to_dict() == {
        "gd": False, "adam_frozen": True, "blocks_frozen": False, "best_rates": False,
    }  # fmt: skip


def test_a_loss_of_zero_counts_as_the_smallest_float(table: pd.DataFrame) -> None:
    rows = table.query("group == 'best_rates'")
    expected = np.mean([np.log10(SMALLEST_LOSS / initial) for initial in INITIAL.values()])
    np.testing.assert_allclose(rows["mean"], expected)
    assert rows["learning_rate"].isna().all()


def test_where_all_failed_the_row_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "10-8"
    members = [write_member(folder, "gd", rate, 2, None) for rate in RATES]
    manifest = {"format": "blockwise-sweep", "version": 1, "name": "", "hash": "", "baseline": "gd"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"members": members}))
    (row,) = quadratic_table(tmp_path).to_dict("records")
    assert (row["problems"], row["failed"], row["at_end"]) == (0, 1, False)
    assert np.isnan([row["learning_rate"], row["mean"], row["low"]]).all()
    assert len(quadratic_figure(tmp_path).axes) == 1


def test_the_figure_has_a_panel_per_pair(study: Path, table: pd.DataFrame) -> None:
    panels = quadratic_figure(study).axes
    assert len(panels) == 4  # two condition numbers, two of the blocks; half of them not run
    drawn = [axes for axes in panels if axes.containers]
    assert [len(axes.containers) for axes in drawn] == [4, 4]
    middle = [bar.lines[0].get_xdata()[0] for bar in drawn[0].containers]
    rows = table.query("block_condition == 1.1")
    np.testing.assert_allclose(middle, rows["mean"])


def test_the_command_line_prints_the_table(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study)]) == 0
    assert "blocks_frozen" in capsys.readouterr().out
    assert main([str(study / "rates")]) == 1
    assert "--run" in capsys.readouterr().err
    with pytest.raises(RunFileError, match="no sweeps"):
        quadratic_table(study / "rates")


# ---- the driver --------------------------------------------------------------------------------

STUDY_FILE = REPOSITORY / STUDY

GRID = {"optimizer.learning_rate": {"values": [0.1, 0.2, 0.4]}}
WRITTEN = {
    "parameters": {"model.problem": {"values": [1, 2, 3]}},
    "groups": [
        {"name": "gd", "set": {"optimizer.rule": "sgd_momentum"}, "parameters": GRID},
        {"name": "best_rates", "set": {"optimizer.block_lr": "runs/quadratics/rates.yaml"}},
    ],
}


def commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> list[tuple[list[str], dict[str, object]]]:
    """What the driver would run for the study WRITTEN."""
    written = folder / "quadratics.yaml"
    written.write_text(yaml.safe_dump({"sweep": WRITTEN}))
    done: list[tuple[list[str], dict[str, object]]] = []
    monkeypatch.setattr(quadratic_sweeps, "STUDY", str(written))
    monkeypatch.setattr(quadratic_sweeps, "run_program", lambda *given: done.append(given))
    run_sweeps(folder, small)
    return done


def test_every_sweep_trains_with_the_rates_of_its_own_spectrum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = commands(tmp_path, monkeypatch, small=False)
    searches, sweeps = done[::2], done[1::2]
    assert len(searches) == len(sweeps) == 6
    for (search, measured), (sweep, settings) in zip(searches, sweeps, strict=True):
        assert (search[0], sweep[0]) == ("search-lr", "sweep")
        for key in ("model.condition", "model.block_condition"):
            assert settings[key] == measured[key]
        gd, best = json.loads(str(settings["sweep.groups"]))
        assert gd == WRITTEN["groups"][0]
        assert best["set"]["optimizer.block_lr"] == f"{search[-1]}/rates.yaml"
        assert search[-1] == f"{settings['output']}/rates"
        assert "trainer.steps" not in settings
    assert str(sweeps[2][1]["output"]).endswith("1000-1.1")


def test_the_small_study_is_one_short_sweep_of_two_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (_, settings) = commands(tmp_path, monkeypatch, small=True)
    gd, _ = json.loads(str(settings["sweep.groups"]))
    assert gd["parameters"]["optimizer.learning_rate"]["values"] == [0.1, 0.2]
    assert json.loads(str(settings["sweep.parameters"])) == WRITTEN["parameters"]
    assert settings["trainer.steps"] == 5


def knows_quadratics() -> bool:
    if not (program().is_file() and STUDY_FILE.is_file()):
        return False
    listed = subprocess.run([str(program()), "list"], capture_output=True, text=True)
    return "  quadratic:" in listed.stdout


@pytest.mark.skipif(not knows_quadratics(), reason="`make build` makes the program")
def test_the_small_study_runs_and_is_not_run_twice(tmp_path: Path) -> None:
    assert main(["--run", "--small", "--output", str(tmp_path)]) == 0
    table = quadratic_table(tmp_path)
    assert set(table["group"]) == {
        "gd", "adam_frozen", "adam_0.999", "blocks_frozen", "blocks_0.999", "best_rates",
    }  # fmt: skip
    assert (table["condition"] == 10).all()
    assert (table["block_condition"] == 8).all()
    assert table.set_index("group").loc["best_rates", "mean"] < 0
    assert (tmp_path / "quadratics.png").stat().st_size > 10_000
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.h5")}
    run_sweeps(tmp_path, small=True)
    assert runs == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.h5")}


# ---- the preconditioner ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ratios() -> pd.DataFrame:
    return condition_ratios([12], [10, 1000], repeats=40, seed=2)


def test_the_path_begins_at_the_axes_and_stays_orthogonal() -> None:
    bases = rotation_path(np.random.default_rng(3), 6, np.array([0, 0.5, 1]))
    products = bases @ bases.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(6), products.shape), atol=1e-13)
    np.testing.assert_allclose(bases[0], np.eye(6), atol=1e-14)
    np.testing.assert_allclose(bases[1] @ bases[1], bases[2], atol=1e-13)  # exp(S/2)^2 = exp(S)


def test_the_share_of_the_diagonal() -> None:
    shares = diagonal_share(np.array([[[2.0, 0], [0, -3]], [[1, -1], [1, 1]]]))
    np.testing.assert_allclose(shares, [1, 0.5])


def test_a_diagonal_hessian_keeps_only_the_scatter_of_the_point() -> None:
    """g_i = lambda_i w_i, so that D H = diag(1 / |w_i|) whatever the eigenvalues are."""
    point = np.array([0.5, -2.0, 1.0])
    hessians = np.array([np.diag([1.0, 10, 500]), np.diag([7.0, 7, 1])])
    np.testing.assert_allclose(preconditioned_condition(hessians, point), [4, 4])


def test_the_symmetric_form_has_the_eigenvalues_of_the_product() -> None:
    random = np.random.default_rng(4)
    factor = random.standard_normal((5, 5))
    hessian, point = factor @ factor.T + np.eye(5), random.standard_normal(5)
    product = np.diag(1 / np.abs(hessian @ point)) @ hessian
    eigenvalues = np.sort(np.linalg.eigvals(product).real)
    expected = eigenvalues[-1] / eigenvalues[0]
    np.testing.assert_allclose(preconditioned_condition(hessian[None], point), [expected])


def test_it_helps_near_the_axes_and_hurts_in_a_dense_basis(ratios: pd.DataFrame) -> None:
    stiff = ratios[ratios["condition"] == 1000]
    assert stiff[stiff["tau"] > 0.99]["ratio"].median() < 0.15
    assert 1 < stiff[stiff["tau"] < 0.4]["ratio"].median() < 10


def test_it_never_helps_where_there_is_nothing_to_gain(ratios: pd.DataFrame) -> None:
    table = condition_ratio_table(ratios[ratios["condition"] == 10])
    assert (table["median"] > 1).all()


def test_the_table_has_quartiles_and_counts_every_hessian(ratios: pd.DataFrame) -> None:
    table = condition_ratio_table(ratios)
    assert table["count"].sum() == len(ratios)
    assert ((table["low"] <= table["median"]) & (table["median"] <= table["high"])).all()
    dense = ratios.query("condition == 1000 and tau >= 0.3 and tau < 0.4")["ratio"]
    (row,) = table.query("condition == 1000 and tau >= 0.3 and tau < 0.4").to_dict("records")
    np.testing.assert_allclose(row["low"], np.quantile(dense, 0.25))
    assert table.groupby("condition")["tau"].first().min() > 0.9


def test_equal_seeds_are_equal_tables() -> None:
    tables = [condition_ratios([4], [10], repeats=2, seed=seed) for seed in (5, 5, 6)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0]["ratio"].equals(tables[2]["ratio"])


def test_the_figure_has_a_line_per_condition(ratios: pd.DataFrame) -> None:
    (axes,) = condition_ratio_figure(ratios).axes
    assert axes.get_yscale() == "log"
    labels = [line.get_label() for line in axes.get_lines() if "number" in str(line.get_label())]
    assert labels == ["condition number 10", "condition number 1000"]


# ---- the notebook ------------------------------------------------------------------------------


def test_the_notebook_reads_the_sweeps_and_measures_the_preconditioner(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_QUADRATICS", str(study))
    outputs = execute("quadratics.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True] * 2
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "blocks_frozen" in tables[0]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
