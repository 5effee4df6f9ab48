"""What lies inside the blocks of any partition, from matrices that are there: the energy of a
Hessian, and the spread of a diagonal. The formulas are the program's (hessian/block_energies.hpp),
which has them for its own candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def section_labels(section: dict[str, Any], columns: int) -> Labels:
    """The block of every element of a section of a partition file, row by row. Of a factored one a
    block is a group of rows."""
    begin, end = section["rows"]
    rows = end - begin
    down, across = np.arange(rows), np.arange(columns)
    kind = section["structure"]
    if kind == "labels":
        runs = [run.split("*") for run in section["labels"].split()]
        return np.repeat([int(block) for block, _ in runs], [int(count) for _, count in runs])
    tile = {"elements": [1, 1], "factored": [section.get("group", 1), columns]}.get(kind)
    tile_rows, tile_columns = tile or section["tile"]
    grid_columns = -(-columns // min(tile_columns, columns))
    labels = (down // tile_rows)[:, None] * grid_columns + (across // tile_columns)[None, :]
    return np.ravel(labels)


def tensor_labels(document: dict[str, Any]) -> dict[str, Labels]:
    """The block of every element of a partition file's tensors, numbered within each tensor."""
    found = {}
    for tensor in document["tensors"]:
        columns = tensor["shape"][1] if len(tensor["shape"]) > 1 else 1
        parts, first = [], 0
        for section in tensor["sections"]:
            parts.append(first + section_labels(section, columns))
            first = int(parts[-1].max()) + 1
        found[tensor["name"]] = np.concatenate(parts)
    return found


def inside_share(matrix: np.ndarray, labels: Labels) -> float:
    """Share of ||H||_F^2 inside the diagonal blocks."""
    squares = np.square(matrix)
    inside = labels[:, None] == labels[None, :]
    return float(squares[inside].sum() / squares.sum())


def random_share(matrix: np.ndarray, labels: Labels) -> float:
    """What random blocks of the same sizes hold: the diagonal, and their part of all pairs."""
    n, sizes = len(labels), np.bincount(labels)
    pairs = float((sizes * (sizes - 1)).sum()) / (n * (n - 1))
    diagonal = float(np.square(np.diagonal(matrix)).sum() / np.square(matrix).sum())
    return diagonal + (1 - diagonal) * pairs


def lift(matrix: np.ndarray, labels: Labels) -> float:
    """(share - random) / (1 - random): 0 for chance, 1 for a block-diagonal matrix; NaN for one
    block, of which chance holds everything."""
    random = random_share(matrix, labels)
    if len(np.unique(labels)) == 1:
        return float("nan")
    return (inside_share(matrix, labels) - random) / (1 - random) if random < 1 else 0.0


def inside_variance(x: np.ndarray, labels: Labels) -> float:
    """Share of the variance of log |x| inside the blocks: 0 where blocks are homogeneous. Zeros are
    left out; NaN where nothing varies."""
    known = x != 0
    logs, labels = np.log(np.abs(x[known])), labels[known]
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=logs)
    means = np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)
    whole = float(np.square(logs - logs.mean()).sum()) if len(logs) else 0.0
    return float(np.square(logs - means[labels]).sum()) / whole if whole > 0 else float("nan")
