"""Partition files, as `blockwise partition` writes them: which elements share a second moment.

    file = read_partition_file("runs/gpt2-tiny-partition/partition.yaml")
    file.partition.groupby("role").state_elements.sum()

The format is described in core/partition_file.hpp; notebooks/adam_mini_pytorch.py trains with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from .hdf5_file import RunFileError


@dataclass(frozen=True, eq=False)
class PartitionFile:
    """A partition and how it was found.

    partition: a row per section of a tensor. tensor; role; rule (what chose it); structure
        (elements, tiles, factored, labels or none); row_begin; rows; columns; tile_rows;
        tile_columns; blocks; state_elements (values of the second moment); merged (sections with
        one number of 0 or more share one value, -1: with none); and what spoke for it,
        a column `evidence_KEY` each, not a number where there was none.
    """

    path: Path
    provenance: dict[str, str]
    hash: str
    partition_rule: str
    partition: pd.DataFrame


def read_partition_file(path: Path | str) -> PartitionFile:
    """Raises RunFileError where the file is missing or is not one of version 1."""
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFileError(f"{path}: cannot be read: {error}") from error
    ours = isinstance(document, dict) and document.get("format") == "blockwise-partition"
    if not ours or document.get("version") != 1:
        raise RunFileError(f"{path}: not a partition file of version 1")
    rows = [
        _row(tensor, section) for tensor in document["tensors"] for section in tensor["sections"]
    ]
    provenance = dict(document.get("provenance") or {})
    return PartitionFile(
        path=path,
        provenance=provenance,
        hash=str(document.get("hash", "")),
        partition_rule=f"by {provenance.get('objective', 'hand')}",
        partition=pd.DataFrame(rows),
    )


def _row(tensor: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    shape = tensor["shape"]
    begin, end = section["rows"]
    rows, columns = end - begin, shape[1] if len(shape) > 1 else 1
    structure = section["structure"]
    tile = section.get("tile", [section.get("group", 1), 1])
    tile_rows, tile_columns = min(tile[0], rows), min(tile[1], columns)
    down, across = -(-rows // tile_rows), -(-columns // tile_columns)
    labels = section.get("labels", "").split()
    blocks = {
        "elements": rows * columns,
        "tiles": down * across,
        "none": down * across,
        "factored": down,
        "labels": 1 + max((int(run.split("*")[0]) for run in labels), default=-1),
    }[structure]
    values = {"factored": rows + down * columns, "none": 0}.get(structure, blocks)
    return {
        "tensor": tensor["name"],
        "role": section["role"],
        "rule": section.get("rule", "file"),
        "structure": structure,
        "row_begin": begin,
        "rows": rows,
        "columns": columns,
        "tile_rows": tile_rows,
        "tile_columns": tile_columns,
        "blocks": blocks,
        "state_elements": values,
        "merged": section.get("merged", -1),
        **{f"evidence_{key}": value for key, value in (section.get("evidence") or {}).items()},
    }
