"""The Hessian studies in their small form, with the built program; skipped where it is not built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_notebook import execute, images
from test_real_program import write_tokens

from studies.hessian_studies import STUDIES, main
from studies.hessian_tables import class_table, heterogeneity_table, neuron_table, structure_table
from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, once."""
    folder = tmp_path_factory.mktemp("hessian")
    files = {}
    for part in ("train", "validation"):
        write_tokens(folder / f"{part}.bin", 2000, 61)
        shard = {"file": f"{part}.bin", "tokens": 2000}
        files[part] = {"tokens": 2000, "bytes": 2000, "shards": [shard]}
    manifest = {"format": "blockwise-tokens", "version": 1, "tokenizer": "byte", "vocab_size": 61}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": files}))
    assert main(["--small", "--output", str(folder), "--corpus", str(folder)]) == 0
    return folder


def test_every_study_has_its_figure(studies: Path) -> None:
    for name in STUDIES:
        assert (studies / f"{name}.png").stat().st_size > 10_000


def test_rows_of_a_perceptron_hold_more_than_columns(studies: Path) -> None:
    table = neuron_table(studies / "mlp")
    assert len(table) == 6
    assert (table["row_lift"] > table["column_lift"] + 0.2).all()
    assert table["between"].between(0.01, 0.5).all()


def test_heads_hold_the_energy_of_query_and_key(studies: Path) -> None:
    lift = structure_table(studies / "transformer-exact")
    for tensor in ("q_proj", "k_proj"):
        row = lift.loc[f"model.layers.0.self_attn.{tensor}.weight"]
        assert (row["per_head"] > 0.9).all()
        assert (row["per_head"] > row["per_row"]).all()
        assert (row["per_column"] < 0.2).all()


def test_heterogeneity_is_finite_and_counts_matrices(studies: Path) -> None:
    table = heterogeneity_table(
        {"gpt2": studies / "gpt2-tensors", "perceptron": studies / "mlp-deep"}
    )
    assert table["matrices"].tolist() == [14, 14, 3, 3]
    assert np.isfinite(table.drop(columns="model").to_numpy(dtype=float)).all()
    assert table["distance"].between(0, np.log(2) + 1e-9).all()


def test_the_law_of_the_classes(studies: Path) -> None:
    """Near 0 the ratio of a softmax regression is 1 / (C - 1): 64 examples and small weights leave
    some percent; a hidden layer's falls slower."""
    table = class_table(studies / "classes").set_index(["model", "tensor", "classes"])
    regression = table.loc[("regression", "layers.0.weight")]
    np.testing.assert_allclose(regression["ratio"], regression["law"], rtol=0.15)
    hidden = table.loc[("perceptron", "layers.0.weight")]["ratio"]
    assert hidden.is_monotonic_decreasing
    assert (hidden.to_numpy() > 1.5 * regression["ratio"].to_numpy()).all()


def test_the_notebook_reads_the_studies(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKWISE_HESSIAN", str(studies))
    outputs = execute("hessian.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True] * 5
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


def test_a_failing_program_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOCKWISE_PROGRAM", str(tmp_path / "nothing"))
    assert main(["--only", "classes", "--output", str(tmp_path)]) == 1
    assert "make build" in capsys.readouterr().err
