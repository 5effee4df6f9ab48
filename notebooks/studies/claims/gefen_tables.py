"""What the study of Gefen measured: its blocks beside others in exact matrices, and its theorem.

Every function takes exact spectra (`blockwise spectrum` with `hessian.exact`) whose parts are
tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from blockwise.files.run import Run
from blockwise.files.spectra import Spectrum

from .inside_blocks import (
    Labels,
    inside_share,
    inside_variance,
    lift,
    section_labels,
    tensor_labels,
)
from .mixed_entries import mixed_entries

TensorLabels = Mapping[str, Labels]


def run_labels(run: Run) -> dict[str, Labels]:
    """The blocks of the partition that a run had, of structures without labels."""
    tensors: dict[str, list[dict[str, Any]]] = {}
    shapes: dict[str, list[int]] = {}
    for row in run.partition.itertuples():
        begin, rows, columns = int(row.row_begin), int(row.rows), int(row.columns)
        section = {"rows": [begin, begin + rows], "structure": row.structure}
        section |= {
            "tile": [int(row.tile_rows), int(row.tile_columns)],
            "group": int(row.tile_rows),
        }
        tensors.setdefault(row.tensor, []).append(section)
        shapes[row.tensor] = [begin + rows, columns]
    document = [{"name": t, "shape": shapes[t], "sections": s} for t, s in tensors.items()]
    return tensor_labels({"tensors": document})


def labels_of_rule(spectrum: Spectrum, columns_alike: bool) -> dict[str, Labels]:
    """One block per column of every tensor, or per row."""
    labels = {}
    for row in spectrum.parameters.itertuples():
        rows, columns = row.shape[0], int(np.prod(row.shape[1:]))
        tile = [rows, 1] if columns_alike else [1, columns]
        section = {"rows": [0, rows], "structure": "tiles", "tile": tile}
        labels[row.name] = section_labels(section, columns)
    return labels


def matrices(spectrum: Spectrum) -> Iterator[tuple[str, np.ndarray]]:
    """Name and exact matrix of every part."""
    for name in spectrum.blocks["name"]:
        yield name, spectrum.matrix(name)


def partition_table(
    hessian: Spectrum, square: Mapping[str, np.ndarray], partitions: Mapping[str, TensorLabels]
) -> pd.DataFrame:
    """A row per partition and matrix: partition; tensor; values (second moments); share, lift (of
    the Hessian's energy inside blocks); hessian_inside, square_inside (share of the variance of the
    logarithm that is left inside: of the Hessian's diagonal, and of the squared gradients `square`;
    NaN of a tensor that is not among them)."""
    rows = []
    for tensor, matrix in matrices(hessian):
        for partition, labels in partitions.items():
            blocks = labels[tensor]
            row = {"partition": partition, "tensor": tensor, "values": len(np.unique(blocks))}
            row |= {"share": inside_share(matrix, blocks), "lift": lift(matrix, blocks)}
            row["hessian_inside"] = inside_variance(np.diagonal(matrix), blocks)
            row["square_inside"] = (
                inside_variance(square[tensor], blocks) if tensor in square else float("nan")
            )
            rows.append(row)
    return pd.DataFrame(rows)


def partition_means(table: pd.DataFrame) -> pd.DataFrame:
    """`partition_table` over the matrices, a row per partition: values in all, the rest means, of
    those that have one."""
    groups = table.groupby("partition", sort=False)
    means = groups[["share", "lift", "hessian_inside", "square_inside"]].mean()
    means.insert(0, "values", groups["values"].sum())
    return means.reset_index()


def theorem_table(
    spectra: Mapping[str, Spectrum],
    square: Mapping[str, np.ndarray],
    blocks: Mapping[str, TensorLabels],
) -> pd.DataFrame:
    """The bound within the blocks of partitions, a row per matrix kind and partition: kind; blocks;
    and the columns of `MixedEntries`, means over the tensors (pairs: in all). square: of the
    gradient, by tensor."""
    rows = []
    for kind, spectrum in spectra.items():
        for tensor, matrix in matrices(spectrum):
            for name, labels in blocks.items():
                found = mixed_entries(matrix, square[tensor], labels[tensor])
                if found is not None:
                    rows.append({"kind": kind, "blocks": name} | asdict(found))
    groups = pd.DataFrame(rows).groupby(["kind", "blocks"], sort=False)
    means = groups.mean()
    means["pairs"] = groups["pairs"].sum()
    return means.reset_index()
