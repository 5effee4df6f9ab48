"""Rows of momentum and Hessian: RMNP's measure, on matrices in which the answer is planted."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from blockwise.files.hdf5_file import RunFileError
from studies.claims.checkpoints import read_tensors, tensors_under
from studies.claims.rmnp_tables import ROLES, correlation_table, role_table
from studies.claims.row_dominance import (
    energy_dominance,
    independent_dominance,
    row_dominance,
    share_of_dominance,
)


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    header, data = {"__metadata__": {"made": "up"}}, b""
    for name, array in tensors.items():
        kind = {4: "F32", 8: "F64"}[array.dtype.itemsize] if array.dtype.kind == "f" else "I64"
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_dominance_by_hand() -> None:
    # G = [[4, 2, 0], [2, 2, 1], [0, 1, 1]]: own entries over means of two others.
    matrix = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(row_dominance(matrix), [4 / 1, 2 / 1.5, 1 / 0.5])
    assert np.isnan(row_dominance(np.eye(2))).all()
    with pytest.raises(ValueError, match="at least two rows"):
        row_dominance(np.ones((1, 3)))


@pytest.mark.parametrize("columns", [8, 64])
def test_independent_rows_have_what_chance_gives(columns: int) -> None:
    matrix = np.random.default_rng(1).standard_normal((400, columns))
    # 80,000 pairs: their mean |cos| has a relative error of 0.3 %, and a row's norm averages out.
    assert row_dominance(matrix).mean() == pytest.approx(independent_dominance(columns), rel=0.03)
    assert independent_dominance(columns) == pytest.approx(np.sqrt(np.pi * columns / 2), rel=0.04)


def test_dominance_of_a_hessian_is_that_of_its_blocks() -> None:
    random = np.random.default_rng(2)
    blocks, size = 5, 3
    a = random.standard_normal((blocks * size, blocks * size))
    norms = np.square(a + a.T).reshape(blocks, size, blocks, size).sum(axis=(1, 3))
    own, others = np.diagonal(norms), norms[~np.eye(blocks, dtype=bool)]
    share = own.sum() / norms.sum()
    dominance = energy_dominance(share, blocks)
    assert dominance == pytest.approx(np.sqrt(own.mean() / others.mean()))
    assert share_of_dominance(dominance, blocks) == pytest.approx(share)
    assert share_of_dominance(1.0, blocks) == pytest.approx(1 / blocks)
    assert np.isnan(energy_dominance(1.0, blocks))


def test_tensors_of_a_checkpoint(tmp_path: Path) -> None:
    tensors = {
        "exp_avg/a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "exp_avg_sq/a": np.array([1.0, 2.0]),
        "exp_avg/b": np.zeros(0, np.float32),
        "step": np.array([7]),
    }
    path = write_safetensors(tmp_path / "optimizer.safetensors", tensors)
    found = read_tensors(path)
    assert set(found) == {"exp_avg/a", "exp_avg_sq/a", "exp_avg/b"}
    assert found["exp_avg/a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert set(tensors_under(path, "exp_avg")) == {"a", "b"}
    with pytest.raises(RunFileError, match="holds no momentum_buffer"):
        tensors_under(path, "momentum_buffer")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 99) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 3) + b'{"a',
        struct.pack("<Q", 10) + b'{"a": {}} ',
        struct.pack("<Q", 60) + b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}     ',
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RunFileError, match="x: a damaged safetensors file"):
        read_tensors(tmp_path / "x")
    with pytest.raises(RunFileError, match="cannot be read"):
        read_tensors(tmp_path / "nothing")


def _measured(slope: float) -> pd.DataFrame:
    """Seven matrices, two seeds; dominance of the momentum times the slope is the lift of rows."""
    rows = []
    for seed in (1, 2):
        for place, role in enumerate(ROLES):
            dominance = 5.0 + place + 0.1 * seed
            rows.append(
                {"group": "rmnp", "seed": seed, "step": 30, "role": role, "average": dominance,
                 "lowest": dominance - 4, "highest": dominance + 9, "independent": 10.0,
                 "row_share": 0.5, "row_lift": slope * dominance, "column_lift": 0.3,
                 "head_lift": np.nan, "row_dominance": 8.0, "column_dominance": 4.0}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("slope", "more"), [(0.05, 6 / 7), (-0.05, 0.0)])
def test_what_the_momentum_says_of_the_matrices(slope: float, more: float) -> None:
    (row,) = correlation_table(_measured(slope)).to_dict("records")
    assert row["rows"] == pytest.approx(np.sign(slope))
    assert row["rows_half_width"] == pytest.approx(0)
    assert np.isnan(row["columns"])  # all lifts of columns are alike
    assert row["more_rows"] == pytest.approx(more)


def test_roles_stand_in_their_order_with_the_ends_over_seeds() -> None:
    table = role_table(_measured(0.05))
    assert table["role"].tolist() == list(ROLES)
    first = table.iloc[0]
    assert (first["lowest"], first["highest"]) == pytest.approx((1.1, 14.2))
    assert first["row_lift"] == pytest.approx(0.05 * 5.15)
