"""Writes synthetic scores.csv files in the format of `blockwise partition`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blockwise.files.partition_scores import COLUMNS

_USUAL: dict[str, Any] = {
    "tensor": "weight", "layer": 0, "section": 0, "candidate": "row", "rows": 8, "columns": 8,
    "values": 8, "chosen": 0, "adam_mini": 0, "inside": 0.5, "inside_error": 0.01, "loss": 0.5,
    "loss_error": 0.01,
}  # fmt: skip


def write_scores(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A line per row, usual values for what it leaves out; None and unknown: not measured."""
    lines = [",".join(COLUMNS)]
    for row in rows:
        values = [(_USUAL | dict(row)).get(name) for name in COLUMNS]
        lines.append(",".join("" if value is None else f"{value}" for value in values))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    return folder
