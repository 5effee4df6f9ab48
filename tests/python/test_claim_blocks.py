"""Gefen's blocks as a partition, what lies inside blocks, and its theorem, on made up matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_runs import RunSpec, Section, write_run
from test_claim_rows import write_safetensors

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_file import read_partition_document, read_partition_file
from blockwise.files.run import Run, read_run
from studies.claims.gefen_blocks import (
    block_lengths,
    length_table,
    lengths_by_seed,
    partition_document,
    structure_of,
    write_partition,
)
from studies.claims.gefen_tables import run_labels
from studies.claims.inside_blocks import (
    inside_share,
    inside_variance,
    lift,
    random_share,
    section_labels,
    tensor_labels,
)
from studies.claims.mixed_entries import mixed_entries

SECTIONS = [
    Section("embedding", "token_embedding", "tiles", -1, 0, 8, 6, 1, 6),
    Section("query", "query", "tiles", 0, 0, 4, 6, 2, 6),
    Section("norm", "norm", "elements", 0, 0, 6, 1),
]
LENGTHS = {"embedding": 12, "query": 4, "norm": 3}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_run(tmp_path / "run" / "run.h5", RunSpec(partition=SECTIONS))
    return read_run(tmp_path / "run")


def _state(path: Path, values: dict[str, int]) -> Path:
    tensors = {}
    for section in SECTIONS:
        size = section.rows * section.columns
        tensors[f"exp_avg/{section.tensor}"] = np.zeros(size, np.float32)
        tensors[f"exp_avg_sq/{section.tensor}"] = np.zeros(values[section.tensor], np.float32)
    return write_safetensors(path / "optimizer.safetensors", tensors)


def test_the_lengths_are_read_off_the_state(tmp_path: Path, run: Run) -> None:
    values = {"embedding": 4, "query": 6, "norm": 2}
    assert block_lengths(_state(tmp_path, values)) == LENGTHS
    table = length_table(run, {"neighbours": LENGTHS})
    assert table["neighbours"].tolist() == [12, 4, 3]
    with pytest.raises(RunFileError, match="query has no blocks of one length"):
        block_lengths(_state(tmp_path, values | {"query": 5}))


def test_the_lengths_of_several_seeds(tmp_path: Path, run: Run) -> None:
    values = {"embedding": 4, "query": 6, "norm": 2}
    _state(run.path.parent / "checkpoints" / f"step_{run.last_step:08d}", values)
    (row,) = lengths_by_seed({11: run}).to_dict("records")
    expected = {"token_embedding": "12", "query": "4", "norm": "3"}
    assert row == {"seed": 11, "values": 12} | expected


@pytest.mark.parametrize("length", [1, 2, 3, 6, 12, 24, 4, 8])
def test_a_structure_is_runs_of_that_length(length: int) -> None:
    section = {"rows": [0, 4]} | structure_of(4, 6, length)
    labels = section_labels(section, 6)
    np.testing.assert_array_equal(labels, np.arange(24) // length)
    assert (section["structure"] == "labels") == (length in (4, 8))


def test_the_file_is_a_partition_with_those_blocks(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "found" / "partition.yaml"
    write_partition(path, partition_document(run, LENGTHS, {"objective": "gefen"}))
    table = read_partition_file(path).partition.set_index("tensor")
    assert table["blocks"].to_dict() == {"embedding": 4, "query": 6, "norm": 2}
    labels = tensor_labels(read_partition_document(path))
    for name, length in LENGTHS.items():
        np.testing.assert_array_equal(labels[name], np.arange(len(labels[name])) // length)


def test_a_fused_tensor_is_refused(tmp_path: Path) -> None:
    fused = [
        Section("qkv", role, "elements", 0, first, 4, 6)
        for role, first in (("query", 0), ("key", 4))
    ]
    write_run(tmp_path / "run.h5", RunSpec(partition=fused))
    with pytest.raises(RunFileError, match="a fused tensor"):
        partition_document(read_run(tmp_path / "run.h5"), {"qkv": 2}, {})


def test_the_blocks_that_a_run_had(run: Run) -> None:
    labels = run_labels(run)
    np.testing.assert_array_equal(labels["embedding"], np.repeat(np.arange(8), 6))
    np.testing.assert_array_equal(labels["query"], np.repeat([0, 1], 12))
    np.testing.assert_array_equal(labels["norm"], np.arange(6))


def test_sections_of_a_tensor_have_blocks_of_their_own() -> None:
    sections = [
        {"rows": [0, 2], "structure": "tiles", "tile": [1, 2]},
        {"rows": [2, 4], "structure": "factored", "group": 1},
        {"rows": [4, 5], "structure": "elements"},
        {"rows": [5, 6], "structure": "labels", "labels": "1*2 0*1"},
    ]
    document = {"tensors": [{"name": "a", "shape": [6, 3], "sections": sections}]}
    expected = [0, 0, 1, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, 7, 8, 10, 10, 9]
    assert tensor_labels(document)["a"].tolist() == expected


def test_a_block_diagonal_matrix_has_all_of_its_energy_inside() -> None:
    labels = np.repeat(np.arange(4), 5)
    matrix = np.kron(np.eye(4), np.ones((5, 5)))
    assert inside_share(matrix, labels) == 1
    assert lift(matrix, labels) == 1
    # Of the other blocks: an element meets its own block's other four or not.
    assert random_share(matrix, labels) == pytest.approx(1 / 5 + 4 / 5 * 4 / 19)
    assert lift(np.eye(4), np.arange(4)) == 0
    assert np.isnan(lift(matrix, np.zeros(20, np.int64)))


def test_chance_has_no_lift() -> None:
    random = np.random.default_rng(3)
    a = random.standard_normal((300, 300))
    # 300 blocks of pairs within: relative error of an energy sum over 3000 squares about 3 %.
    assert abs(lift(a + a.T, np.repeat(np.arange(30), 10))) < 0.01


def test_the_spread_inside_blocks() -> None:
    labels = np.repeat([0, 1], 50)
    assert inside_variance(np.where(labels == 0, 1.0, 100.0), labels) == pytest.approx(0, abs=1e-20)
    random = np.exp(np.random.default_rng(4).standard_normal(100))
    assert inside_variance(random, labels) > 0.9
    assert inside_variance(np.append(random, 0.0), np.append(labels, 1)) > 0.9
    assert np.isnan(inside_variance(np.ones(100), labels))


def test_the_bound_holds_for_what_gradients_make() -> None:
    gradients = np.random.default_rng(5).standard_normal((6, 40)) * np.geomspace(0.1, 10, 40)
    fisher = gradients.T @ gradients / 6
    found = mixed_entries(fisher, np.diagonal(fisher), np.zeros(40, np.int64))
    assert found is not None
    assert (found.pairs, found.broken) == (40 * 39 // 2, 0)
    assert found.bound < found.ratio
    # Large mixed entries need like diagonals: that is the theorem.
    assert found.correlation > 0.5


def test_a_hessian_may_break_it_and_blocks_choose_the_pairs() -> None:
    hessian = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.5], [0.0, 0.5, 1.0]])
    square = np.array([1.0, 1e-3, 1e-3])
    found = mixed_entries(hessian, square, np.zeros(3, np.int64))
    assert found is not None
    assert (found.pairs, found.broken) == (3, pytest.approx(1 / 3))  # 0 and 1
    assert found.forced == pytest.approx(2 / 3)
    assert found.alike == pytest.approx(1 / 3)
    assert mixed_entries(hessian, square, np.arange(3)) is None
    few = mixed_entries(np.ones((50, 50)), np.ones(50), np.zeros(50, np.int64), most=7)
    assert few is not None
    assert few.pairs == 7
