"""Gefen's blocks as a partition file, read off a checkpoint of its first step.

Gefen (arXiv 2606.13894) cuts every tensor, row by row, into runs of p elements; the first squared
gradient says p. Its state has one second moment a run, so p is the size of a tensor over their
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from blockwise.files.atomic_file import write_bytes_atomically
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import Run

from .checkpoints import STATE, checkpoint, tensors_under


def block_lengths(state: Path) -> dict[str, int]:
    """p of every tensor, from the optimizer.safetensors of a run with gefen."""
    sizes = {name: m.size for name, m in tensors_under(state, "exp_avg").items()}
    values = {name: v.size for name, v in tensors_under(state, "exp_avg_sq").items()}
    wrong = [name for name in sizes if not values.get(name) or sizes[name] % values[name]]
    if wrong:
        raise RunFileError(f"{state}: {wrong[0]} has no blocks of one length")
    return {name: sizes[name] // values[name] for name in sizes}


def structure_of(rows: int, columns: int, length: int) -> dict[str, Any]:
    """Runs of `length` elements of a [rows, columns] matrix, as a section of a partition file."""
    if length == 1:
        return {"structure": "elements"}
    if columns % length == 0:
        return {"structure": "tiles", "tile": [1, length]}
    if length % columns == 0:
        return {"structure": "tiles", "tile": [length // columns, columns]}
    labels = " ".join(f"{block}*{length}" for block in range(rows * columns // length))
    return {"structure": "labels", "labels": labels}


def partition_document(
    run: Run, lengths: Mapping[str, int], provenance: Mapping[str, str]
) -> dict[str, Any]:
    """The file's content for the model of a run, whose tensors are one section each."""
    if run.partition["tensor"].duplicated().any():
        raise RunFileError(f"{run.path}: a fused tensor, across whose sections blocks would go")
    tensors = []
    for row in run.partition.itertuples():
        rows, columns = int(row.rows), int(row.columns)
        section = {"rows": [0, rows], "role": row.role, "rule": "gefen"}
        section |= structure_of(rows, columns, lengths[row.tensor])
        shape = [rows] if row.role in ("norm", "bias") else [rows, columns]
        tensors.append({"name": row.tensor, "shape": shape, "sections": [section]})
    parameters = int((run.partition["rows"] * run.partition["columns"]).sum())
    return {
        "format": "blockwise-partition",
        "version": 2,
        "model": {"parameters": parameters, "tensors": len(tensors)},
        "provenance": dict(provenance),
        "tensors": tensors,
    }


def write_partition(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(document), sort_keys=False, width=1 << 30)
    write_bytes_atomically(path, text.encode())


def lengths_by_seed(runs: Mapping[int, Run]) -> pd.DataFrame:
    """What gefen found in runs of several seeds, a row per seed: values (second moments); and of
    every role the lengths p of its tensors, in the model's order."""
    rows = []
    for seed, run in runs.items():
        lengths = block_lengths(checkpoint(run.path.parent, run.last_step) / STATE)
        table = length_table(run, {"p": lengths})
        row: dict[str, object] = {"seed": seed}
        row["values"] = int((table["rows"] * table["columns"] // table["p"]).sum())
        for role, p in table.groupby("role", sort=False)["p"]:
            row[str(role)] = ", ".join(str(length) for length in p.unique())
        rows.append(row)
    return pd.DataFrame(rows)


def length_table(run: Run, lengths: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """p by tensor (rows) and by what found it (a column each); with role, rows and columns."""
    table = run.partition[["tensor", "role", "rows", "columns"]].copy()
    for name, of_tensor in lengths.items():
        table[name] = [of_tensor[tensor] for tensor in table["tensor"]]
    return table
