"""The studies of claims with the built program, small; skipped where it is not built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_real_program import write_tokens

from blockwise.files.partition_file import read_partition_document
from blockwise.files.run import read_run
from blockwise.files.spectra import read_spectrum
from blockwise.files.sweep import read_sweep
from studies.claims import gefen, rmnp
from studies.claims.gefen_tables import labels_of_rule, matrices
from studies.claims.inside_blocks import inside_share, inside_variance, lift, tensor_labels
from studies.claims.rmnp_tables import ROLES, measured_table
from studies.program import program, run_program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

STEPS = 4


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Settings that shrink a study to seconds."""
    folder = tmp_path_factory.mktemp("tokens")
    for part in ("train", "validation"):
        write_tokens(folder / f"{part}.bin", 4000, 61)
    return {
        "data.train": folder / "train.bin", "data.validation": folder / "validation.bin",
        "data.vocab_size": 61, "data.sequence_length": 16, "data.validation_tokens": 128,
        "model.n_embd": 16, "model.n_head": 2, "model.n_layer": 1, "trainer.micro_batch_size": 2,
        "hessian.batch_size": 2,
    }  # fmt: skip


def groups(**settings: dict[str, object]) -> dict[str, object]:
    """A sweep of these groups on one seed, at one rate."""
    listed = [{"name": name, "set": values} for name, values in settings.items()]
    return {
        "trainer.steps": STEPS, "schedule.warmup_steps": 1, "trainer.checkpoint_every": 2,
        "sweep.seeds": "[0]", "sweep.confirm.seeds": "[11]", "sweep.baseline": listed[0]["name"],
        "sweep.parameters": '{"optimizer.learning_rate": {"values": [0.01]}}',
        "sweep.groups": json.dumps(listed),
    }  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, small: dict[str, object]) -> Path:
    """The blocks of both rules."""
    folder = tmp_path_factory.mktemp("gefen")
    gefen.find(folder, small)
    return folder


def test_the_rule_is_adam_with_the_blocks_that_were_found(
    found: Path, small: dict[str, object]
) -> None:
    """On the seed on which they were found: the file holds Gefen's blocks and no others."""
    arms: dict[str, dict[str, object]] = {}
    for rule in gefen.RULES:
        arms[rule] = {"optimizer.rule": "gefen", "optimizer.blocks": rule, "optimizer.beta2": 0.95}
        path = found / rule / "partition.yaml"
        arms[f"file_{rule}"] = {"optimizer.partition.file": str(path)}
    settings = small | groups(**arms) | {"output": found / "sweep"}
    run_program(["sweep", gefen.STUDY], settings)
    sweep = read_sweep(found / "sweep")
    losses = {one.group: sweep.runs[one.id].steps["loss"].to_numpy() for one in sweep.members}
    for rule in gefen.RULES:
        # Sums of float32 squares in another order, over four steps.
        np.testing.assert_allclose(losses[rule], losses[f"file_{rule}"], rtol=1e-5)
        blocks = tensor_labels(read_partition_document(found / rule))
        assert sum(labels.max() + 1 for labels in blocks.values()) == sum(
            read_run(one.run).partition["blocks"].sum()
            for one in sweep.members
            if one.group == f"file_{rule}"
        )


def test_what_lies_inside_blocks_is_what_the_program_says(
    tmp_path: Path, small: dict[str, object]
) -> None:
    settings = small | {
        "hessian.exact": "true", "hessian.precision": "fp64", "hessian.parts.each": "tensor",
        "hessian.parts.roles": "[query, mlp_out]",
        "hessian.energies.partitions": "[per_row, per_column]",
    }  # fmt: skip
    run_program(["spectrum", gefen.STUDY, "--output", str(tmp_path)], settings)
    spectrum = read_spectrum(tmp_path)
    energies = spectrum.energies.set_index(["tensor_name", "rule_name"])
    for name, matrix in matrices(spectrum):
        for rule in ("per_row", "per_column"):
            labels = labels_of_rule(spectrum, columns_alike=rule == "per_column")[name]
            row = energies.loc[(name, rule)]
            assert row["share"] == pytest.approx(inside_share(matrix, labels), rel=1e-9)
            assert row["lift"] == pytest.approx(lift(matrix, labels), rel=1e-9)
            inside = inside_variance(np.diagonal(matrix), labels)
            assert row["homogeneity"] == pytest.approx(inside, rel=1e-9)


def test_momentum_and_hessian_of_confirmed_runs(
    tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms: dict[str, dict[str, object]] = {
        "adamw": {"optimizer.rule": "adamw"},
        "rmnp": {"optimizer.rule": "rmnp"},
    }
    run_program(["sweep", rmnp.STUDY], small | groups(**arms) | {"output": tmp_path / "sweep"})
    runs = rmnp.confirmed_runs(read_sweep(tmp_path / "sweep"))
    assert set(runs) == {("rmnp", 11)}
    rmnp.measure(tmp_path, runs, (2, STEPS), small)
    spectra = {place: rmnp.spectrum_folder(tmp_path, *place) for place in runs}
    table = measured_table(runs, spectra)
    assert len(table) == 2 * len(ROLES)
    assert set(table["step"]) == {2, STEPS}
    assert (table["lowest"] <= table["average"]).all()
    assert table["row_share"].between(-0.5, 1.5).all()
