"""Rates by role and paired losses, on a search and a sweep that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_runs import CONFIRM_SEEDS, RunSpec, Section, write_run, write_sweep
from test_claim_rows import write_safetensors

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import read_run
from blockwise.files.sweep import Sweep, read_sweep
from blockwise.statistics.student_t import t_quantile
from studies.claims.paired_losses import confirmed_losses, difference_table, loss_table
from studies.claims.role_rates import (
    BLOCKWISE_LR,
    factor_correlation,
    factor_table,
    read_searched,
    spectral_factors,
)

# As rate_report.cpp writes it.
RATES = """\
group,factor,best,low,high,difference,half_width,p_value,taken
token_embedding,4,3.5,3,4,-0.05,0.02,0.01,1
query,1,0.5,0.25,1,0.01,0.05,0.6,0
norm,1,0.1,0.1,0.1,-0.02,0.01,0.02,0
key,1,1,1,1,0,nan,nan,0
"""
LUCK = dict(zip(CONFIRM_SEEDS, (0.3, -0.2, 0.1, 0.0), strict=True))
GAIN = dict(zip(CONFIRM_SEEDS, (0.04, 0.05, 0.06, 0.05), strict=True))


def _losses(name: str, spec: RunSpec) -> RunSpec:
    if spec.seed in LUCK:
        gain = GAIN[spec.seed] if name.startswith("adam_mini") else 0.0
        spec.final_loss = 2 + LUCK[spec.seed] + gain
    return spec


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The best rate of both groups, 6e-3, confirmed on four seeds."""
    confirmed = [(group, 6e-3, seed) for group in ("adamw", "adam_mini") for seed in CONFIRM_SEEDS]
    return read_sweep(write_sweep(tmp_path_factory.mktemp("rates"), _losses, confirmed))


def test_differences_are_paired_by_seed(sweep: Sweep) -> None:
    losses = confirmed_losses(sweep)
    assert losses["adamw"].to_dict() == pytest.approx({seed: 2 + LUCK[seed] for seed in LUCK})
    (row,) = difference_table(sweep, [("adam_mini", "adamw"), ("adamw", "no group")]).to_dict(
        "records"
    )
    assert row["difference"] == pytest.approx(0.05)
    # Luck cancels; what is left has the standard deviation sqrt(2 / 3) 0.01.
    assert row["difference_half_width"] == pytest.approx(t_quantile(3) * np.sqrt(2 / 3) * 0.01 / 2)


def test_the_losses_of_what_was_chosen(sweep: Sweep) -> None:
    table = loss_table(sweep)
    assert table["group"].tolist() == ["adamw", "adam_mini"]
    assert table["rate"].tolist() == [6e-3, 6e-3]
    assert table["at_end"].tolist() == [False, False]
    assert table["loss"].tolist() == pytest.approx([2.05, 2.10])
    assert np.isnan(table["difference"][0])
    assert table["optimizer_bytes"][0] > 1.9 * table["optimizer_bytes"][1]


def test_searched_factors_stand_beside_the_papers(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(RATES)
    searched = read_searched(tmp_path)
    assert searched["taken"].tolist() == [True, False, False, False]
    assert searched["best"].isna().tolist() == [False, False, False, True]  # not reached
    table = factor_table({"adamw": searched}, {"query": 2.0, "norm": 1.0}).set_index("role")
    assert list(table.index) == list(BLOCKWISE_LR)
    assert table.loc["query"][["blockwise_lr", "llr", "adamw"]].tolist() == [8, 2, 0.5]
    assert np.isnan(table.loc["key"]["adamw"])
    assert table.loc["token_embedding"]["adamw_high"] == 4


def test_correlations_leave_out_roles_that_one_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(RATES)
    falling = {role: 1 / factor for role, factor in BLOCKWISE_LR.items()}
    table = factor_table({"adamw": read_searched(tmp_path)}, falling)
    found = factor_correlation(table, ["blockwise_lr", "llr", "adamw"])
    found = found.set_index(["a", "b"])["correlation"]
    assert found["blockwise_lr", "llr"] == pytest.approx(-1)
    assert found["blockwise_lr", "adamw"] == pytest.approx(1)  # all three are ordered alike


def test_factors_of_the_spectra_are_means_over_a_roles_sections(tmp_path: Path) -> None:
    sections = [
        Section("a.qkv", "query", "elements", 0, 0, 4, 4),
        Section("a.qkv", "key", "elements", 0, 4, 4, 4),
        Section("b.q", "query", "elements", 1, 0, 4, 4),
    ]
    write_run(tmp_path / "run.h5", RunSpec(steps=50, partition=sections))
    state = {
        "rate_factors/a.qkv": np.array([[1.0, 2.0], [1.0, 3.0]]),
        "rate_factors/b.q": np.array([[1.0, 4.0]]),
    }
    write_safetensors(tmp_path / "checkpoints" / "step_00000050" / "optimizer.safetensors", state)
    assert spectral_factors(read_run(tmp_path), tmp_path) == {"query": 3.0, "key": 3.0}


def test_another_methods_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("tensor,role\na,query\n")
    with pytest.raises(RunFileError, match="--method coordinate"):
        read_searched(tmp_path)
