"""Agreement of partitions, on choices that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from make_scores import write_scores
from test_notebook import execute

from blockwise.files.hdf5_file import RunFileError
from studies.partition_transfer import choice_agreement, choice_table, score_folders

CANDIDATES = ("row", "column", "factored", "element")


def _write(folder: Path, choices: Sequence[str], losses: np.ndarray | None = None) -> Path:
    """A section of the role `query` per layer; the embedding's layer is -1. losses: [layer, 4]."""
    rows = []
    for layer, chosen in enumerate(choices, start=-1):
        role = "query" if layer >= 0 else "token_embedding"
        for place, candidate in enumerate(CANDIDATES):
            loss = 0.5 if losses is None else losses[layer + 1, place]
            rows.append(
                {"tensor": f"{layer}.{role}", "role": role, "layer": layer, "loss": loss,
                 "candidate": candidate, "chosen": int(candidate == chosen)}
            )  # fmt: skip
    return write_scores(folder, rows)


def test_choices_stand_beside_each_other(tmp_path: Path) -> None:
    small = _write(tmp_path / "small", ["row", "factored", "column"])
    large = _write(tmp_path / "large", ["row", "row", "column", "element"])
    table = choice_table({"small": small, "large": large})
    assert list(table.index) == [("token_embedding", -1)] + [("query", i) for i in range(3)]
    assert table["large"].tolist() == ["row", "row", "column", "element"]
    assert table["small"].tolist()[:3] == ["row", "factored", "column"]
    assert table["small"].isna().tolist() == [False, False, False, True]
    assert score_folders(tmp_path) == {"large": large, "small": small}


def test_equal_choices_agree_and_only_common_layers_count(tmp_path: Path) -> None:
    choices = ["row", "factored", "column", "element"]
    a, b = _write(tmp_path / "a", choices), _write(tmp_path / "b", [*choices, "row"])
    (row,) = choice_agreement({"a": a, "b": b}).to_dict("records")
    assert (row["sections"], row["agreement"], row["kappa"]) == (4, 1, 1)
    assert row["chance"] == pytest.approx(1 / 4)
    assert np.isnan(row["loss_correlation"])  # all losses are alike


def test_kappa_of_a_table_by_hand(tmp_path: Path) -> None:
    a = _write(tmp_path / "a", ["row", "row", "row", "column"])
    b = _write(tmp_path / "b", ["row", "row", "column", "element"])
    (row,) = choice_agreement({"a": a, "b": b}).to_dict("records")
    assert row["agreement"] == pytest.approx(2 / 4)
    assert row["chance"] == pytest.approx(3 / 4 * 2 / 4 + 1 / 4 * 1 / 4)
    assert row["kappa"] == pytest.approx((0.5 - 0.4375) / (1 - 0.4375))


def test_random_choices_agree_by_chance_alone(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    frequent = [0.7, 0.1, 0.1, 0.1]
    names = ("a", "b")
    folders = {
        name: _write(tmp_path / name, generator.choice(CANDIDATES, size=1000, p=frequent).tolist())
        for name in names
    }
    (row,) = choice_agreement(folders).to_dict("records")
    assert row["agreement"] > 0.4
    # The standard error of kappa is sqrt(0.52 * 0.48 / 1000) / 0.48 = 0.033; three of them.
    assert abs(row["kappa"]) < 0.1


def test_one_choice_everywhere_has_no_kappa(tmp_path: Path) -> None:
    folders = {name: _write(tmp_path / name, ["row"] * 3) for name in ("a", "b")}
    (row,) = choice_agreement(folders).to_dict("records")
    assert (row["agreement"], row["chance"]) == (1, 1)
    assert np.isnan(row["kappa"])


def test_losses_are_correlated_within_sections(tmp_path: Path) -> None:
    rising, falling = np.arange(4.0), -np.arange(4.0)
    choices = ["row", "column"]
    # The second section lies far above the first, which is not to count.
    a = _write(tmp_path / "a", choices, np.array([rising, rising + 100]))
    b = _write(tmp_path / "b", choices, np.array([rising * 7, falling + 200]))
    c = _write(tmp_path / "c", choices, np.array([rising**2, rising + 5]))
    table = choice_agreement({"a": a, "b": b, "c": c}).set_index(["a", "b"])["loss_correlation"]
    assert table["a", "b"] == pytest.approx(0)  # 1 and -1
    assert table["a", "c"] == pytest.approx(1)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"no folder in it has a scores\.csv"):
        score_folders(tmp_path)
    usual = {"role": "query", "layer": 0, "chosen": 1}
    twice = write_scores(tmp_path / "twice", [usual, usual | {"tensor": "another"}])
    with pytest.raises(RunFileError, match="several sections are query of layer 0"):
        choice_table({"twice": twice})
    (tmp_path / "twice" / "scores.csv").write_text("tensor,role\nx,query\n")
    with pytest.raises(RunFileError, match="no column layer"):
        choice_table({"twice": twice})


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    for name in ("small-start", "small-end", "large-start"):
        _write(tmp_path / name, ["row", "factored", "column"], generator.random((3, 4)))
    monkeypatch.setenv("BLOCKWISE_TRANSFER", str(tmp_path))
    outputs = execute("partition-transfer.ipynb", monkeypatch)
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "factored" in tables[0]
    assert "loss_correlation" in tables[1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
