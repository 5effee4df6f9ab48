"""What both the program and the package compute has one number: on files that the program wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blockwise import (
    Spectrum,
    Sweep,
    configurations,
    distance_matrix,
    final_losses,
    loss_differences,
    mean_interval,
    quadrature_trace,
    read_spectrum,
    read_sweep,
    t_quantile,
)
from studies.optimizer_study import study_table
from studies.preconditioner import diagonal_share
from studies.program import program
from studies.stability import stability_table

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

MODEL = """
name: small
data: {kind: gaussian_classes}
model: {family: mlp, hidden: [4]}
optimizer: {rule: adamw, learning_rate: 1.0e-2}
trainer: {steps: 6, evaluate_every: 3}
"""
SWEEP = """
sweep:
  seeds: [1, 2, 3]
  baseline: adamw
  parameters: {optimizer.learning_rate: {values: [1.0e-3, 1.0e-2]}}
  groups:
    - {name: adamw, set: {optimizer.rule: adamw}}
    - {name: mini, set: {optimizer.rule: adam_mini}}
"""
CONFIRMED = """
sweep:
  seeds: [1]
  confirm: {seeds: [2, 3, 4]}
  baseline: adamw
  parameters: {optimizer.learning_rate: {values: [1.0e-3, 1.0e-2]}}
  groups:
    - {name: adamw, set: {optimizer.rule: adamw}}
    - {name: mini, set: {optimizer.rule: adam_mini}}
    - {name: lion, set: {optimizer.rule: lion}}
"""
PROBES = 34  # 33 degrees of freedom: beyond every printed table
# Both sides sum a handful of float64 numbers in another order.
EQUAL = {"rel": 1e-12, "abs": 1e-13}


def run(*words: object) -> str:
    command = [str(word) for word in (program(), *words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    (path / "sweep.yaml").write_text(MODEL + SWEEP)
    run("sweep", path / "sweep.yaml", "--set", f"output={path / 'out'}")
    return path / "out"


@pytest.fixture(scope="module")
def sweep(folder: Path) -> Sweep:
    return read_sweep(folder)


@pytest.fixture(scope="module")
def report(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("report", folder, "--json"))["configurations"]
    assert len(rows) == 4
    return rows


def rate_of(row: dict[str, Any]) -> float:
    return float(row["settings"]["optimizer.learning_rate"])


def spectrum_of(path: Path, *settings: str) -> Spectrum:
    (path / "model.yaml").write_text(MODEL)
    words = [word for setting in settings for word in ("--set", f"hessian.{setting}")]
    run("spectrum", path / "model.yaml", "--no-figure", "--output", path / "out", *words)
    return read_spectrum(path / "out")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Spectrum:
    return spectrum_of(
        tmp_path_factory.mktemp("probed"), "each=tensor", "distances=true", f"probes={PROBES}",
        "lanczos_steps=3", "batch_size=16",
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Spectrum:
    return spectrum_of(
        tmp_path_factory.mktemp("exact"), "each=tensor", "exact=true", "preconditioning=true",
        "distances=true", "batch_size=16", "precision=fp64",
    )  # fmt: skip


def test_means_and_intervals_of_configurations(sweep: Sweep, report: list[dict[str, Any]]) -> None:
    table = configurations(sweep).set_index(["group", "optimizer.learning_rate"])
    for row in report:
        ours = table.loc[(row["group"], rate_of(row))]
        assert ours["mean"] == pytest.approx(row["final_loss"], **EQUAL)
        half_width = row["final_loss_half_width"]
        assert ours["high"] - ours["mean"] == pytest.approx(half_width, rel=1e-9)  # a difference
        assert ours["finished"] == row["seeds_finished"] == 3


def test_best_losses_bytes_and_seconds(sweep: Sweep, report: list[dict[str, Any]]) -> None:
    by = ["group", "optimizer.learning_rate"]
    names = {"best_loss": "best_loss", "optimizer_bytes": "optimizer_bytes",
             "seconds_per_step": "step_seconds", "peak_allocated": "peak_allocated_bytes"}  # fmt: skip
    table = final_losses(sweep).groupby(by)[list(names)]
    means, largest = table.mean(), table.max()
    for row in report:
        place = (row["group"], rate_of(row))
        for ours, theirs in names.items():
            found = largest if theirs.endswith("bytes") else means
            assert found.loc[place, ours] == pytest.approx(row[theirs], **EQUAL), ours


def test_differences_to_the_baseline_are_paired_by_seed(
    sweep: Sweep, report: list[dict[str, Any]]
) -> None:
    best = next(row for row in report if row["group"] == "mini")  # the report has the best first
    table = loss_differences(sweep)
    last = table[table["step"] == 6]["difference"]
    interval = mean_interval(last.tolist())
    assert interval.mean == pytest.approx(best["difference"], **EQUAL)
    assert interval.half_width == pytest.approx(best["difference_half_width"], rel=1e-9)
    (row,) = stability_table(sweep).query("group == 'mini'").to_dict("records")
    assert row["difference"] == pytest.approx(best["difference"], **EQUAL)
    assert row["difference_half_width"] == pytest.approx(best["difference_half_width"], rel=1e-9)


def test_the_table_of_optimizers_is_that_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(MODEL + CONFIRMED)
    run("sweep", tmp_path / "sweep.yaml", "--set", f"output={tmp_path / 'out'}")
    report = json.loads(run("report", tmp_path / "out", "--json"))
    table = study_table(read_sweep(tmp_path / "out")).set_index("group")
    assert table.index.tolist() == [row["group"] for row in report["confirmed"]]
    names = {"loss": "final_loss", "half_width": "final_loss_half_width", "holm": "p_value_holm",
             "difference": "difference", "difference_half_width": "difference_half_width",
             "p_value": "p_value", "state_bytes": "optimizer_bytes",
             "peak_bytes": "peak_allocated_bytes", "step_seconds": "step_seconds"}  # fmt: skip
    for row in report["confirmed"]:
        for ours, theirs in names.items():
            found = table.loc[row["group"], ours]
            if row[theirs] is None:
                assert np.isnan(found), ours
            else:
                # p = 1 - P(|T| <= t) here, and the tail itself there.
                assert found == pytest.approx(row[theirs], rel=1e-9, abs=1e-12), ours
    tried = {group["name"]: group["configurations"] for group in report["groups"]}
    assert table["tried"].to_dict() == tried


def test_students_t_beyond_thirty_degrees_of_freedom(probed: Spectrum) -> None:
    rows = probed.rows("distances", 0).query("jensen_shannon_error > 0")
    assert len(rows) > 1
    found = rows["jensen_shannon_half_width"] / rows["jensen_shannon_error"]
    np.testing.assert_allclose(found, t_quantile(PROBES - 1), rtol=1e-12)


@pytest.mark.parametrize("name", ["probed", "exact"])
def test_distances_of_spectra_are_read(name: str, request: pytest.FixtureRequest) -> None:
    spectrum: Spectrum = request.getfixturevalue(name)
    matrix = distance_matrix(spectrum, 0)
    for row in spectrum.rows("distances", 0).itertuples():
        assert matrix[row.row_block, row.column_block] == row.jensen_shannon
        assert matrix[row.column_block, row.row_block] == row.jensen_shannon
    assert np.isfinite(matrix).all()
    assert not matrix.diagonal().any()


def test_tau_is_the_diagonals_share_of_the_squared_norm(exact: Spectrum) -> None:
    rows = exact.rows("preconditioning", 0)
    assert len(rows) == len(exact.blocks)
    for block, tau in zip(rows["block"], rows["tau"], strict=True):
        matrix = exact.matrix(int(block))
        # The matrix is written as the program had it: sums of float64.
        assert diagonal_share(matrix[None])[0] == pytest.approx(tau, rel=1e-10)
        absolute = np.abs(np.diag(matrix)).sum() / np.abs(matrix).sum()
        assert matrix.shape[0] == 1 or abs(absolute - tau) > 1e-3  # another quantity


def test_condition_numbers_of_exact_blocks(exact: Spectrum) -> None:
    rows = exact.rows("preconditioning", 0)
    for block, condition in zip(rows["block"], rows["condition"], strict=True):
        matrix = exact.matrix(int(block))
        sizes = np.abs(np.linalg.eigvalsh((matrix + matrix.T) / 2))
        # An eigenvalue is known to eps ||H||, so that the smallest one has few digits.
        digits = np.finfo(float).eps * len(sizes) * condition
        if digits < 0.1:
            assert sizes.max() / sizes.min() == pytest.approx(condition, rel=10 * digits + 1e-9)


def test_traces_of_exact_blocks(exact: Spectrum) -> None:
    rows = exact.rows("summary", 0)
    for block, trace in zip(rows["block"], rows["trace"], strict=True):
        largest = np.abs(np.linalg.eigvalsh(exact.matrix(int(block)))).max()
        found = quadrature_trace(exact, int(block), 0).mean
        assert found == pytest.approx(trace, rel=1e-9, abs=1e-9 * largest)  # it may cancel
