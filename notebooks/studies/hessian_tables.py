"""What the Hessian studies of configs/hessian found, as tables.

Every function takes the folder of one study's run or sweep, as `python -m studies.hessian_studies`
leaves it.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from blockwise.figures.block_matrix import coupling_matrix
from blockwise.files.spectra import Spectrum, read_spectrum
from blockwise.files.sweep import read_sweep
from blockwise.statistics.intervals import mean_interval

Folder = str | os.PathLike[str]


def neuron_table(folder: Folder) -> pd.DataFrame:
    """Of every step and weight matrix: the energy inside output rows and input columns, and over
    random groups of their sizes; and how large a block between two neurons is over their own.

    row, column: share of ||H_tt||_F^2 inside the blocks, row_error, column_error its standard
    error, row_lift, column_lift what it is above random blocks; between: median over pairs of
    ||H_ij||_F / sqrt(||H_ii||_F ||H_jj||_F).
    """
    spectrum = read_spectrum(folder)
    rows = []
    for (step, tensor), energies in spectrum.energies.groupby(["step", "tensor_name"]):
        row: dict[str, object] = {"step": step, "tensor": tensor}
        for energy in energies.itertuples():
            name = energy.rule_name.removeprefix("per_")
            row |= {
                name: energy.share,
                f"{name}_error": energy.share_error,
                f"{name}_lift": energy.lift,
            }
        rows.append(row | {"between": _median_coupling(spectrum, int(step), str(tensor))})
    return pd.DataFrame(rows)


def _median_coupling(spectrum: Spectrum, step: int, tensor: str) -> float:
    places = [i for i, name in enumerate(spectrum.blocks["name"]) if name.startswith(tensor)]
    couplings = coupling_matrix(spectrum, step)[np.ix_(places, places)]
    return float(np.nanmedian(couplings[~np.eye(len(places), dtype=bool)]))


def structure_table(folder: Folder, column: str = "lift") -> pd.DataFrame:
    """lift or homogeneity of every tensor (rows) under every rule at every step (columns)."""
    energies = read_spectrum(folder).energies
    table = energies.pivot_table(index="tensor_name", columns=["rule_name", "step"], values=column)
    return table.loc[list(dict.fromkeys(energies["tensor_name"]))]


def heterogeneity_table(folders: dict[str, Folder]) -> pd.DataFrame:
    """How unlike the spectra of a model's matrices are, and what Adam's diagonal does to them.

    distance: median over pairs of matrices of the Jensen-Shannon distance of their spectra, nats
    (0 equal, 0.693 apart); scale: the largest eigenvalue of a matrix over that of another, as
    standard deviation of its decimal logarithm; condition, condition_adam: medians before and
    after Adam's diagonal; better: in how many matrices it got smaller.
    """
    rows = []
    for model, folder in folders.items():
        spectrum = read_spectrum(folder)
        matrices = _matrices(spectrum)
        for step in spectrum.steps:
            rows.append({"model": model, "step": step} | _heterogeneity(spectrum, matrices, step))
    return pd.DataFrame(rows)


def _matrices(spectrum: Spectrum) -> set[int]:
    blocks = spectrum.blocks
    return set(blocks.index[~blocks["role"].isin(["norm", "bias"])])


def _heterogeneity(spectrum: Spectrum, matrices: set[int], step: int) -> dict[str, float | int]:
    pairs = spectrum.rows("distances", step)
    pairs = pairs[pairs["row_block"].isin(matrices) & pairs["column_block"].isin(matrices)]
    values = spectrum.rows("eigenvalues", step)
    largest = values[values["block"].isin(matrices)].groupby("block")["value"].max()
    adam = spectrum.rows("preconditioning", step)
    adam = adam[adam["block"].isin(matrices)]
    return {
        "matrices": len(matrices),
        "distance": float(pairs["jensen_shannon"].median()),
        "scale": float(np.log10(largest).std()),
        "condition": float(adam["condition"].median()),
        "condition_adam": float(adam["condition_adam"].median()),
        "better": int((adam["ratio"] < 1).sum()),
    }


def class_table(folder: Folder) -> pd.DataFrame:
    """The block between two neurons over a neuron's own, by number of classes.

    ratio: ||H_ij||_F / ||H_ii||_F, root mean square over the measured neurons of one matrix, mean
    over the seeds; half_width: of its 95 % interval; law: 1 / (C - 1), softmax regression at 0.
    """
    sweep = read_sweep(folder)
    found: dict[tuple[str, str], list[float]] = {}
    for member in sweep.members:
        spectrum = read_spectrum(member.run)
        for tensor, ratio in _ratios(spectrum).items():
            found.setdefault((member.group, tensor), []).append(ratio)
    rows = []
    for (group, tensor), ratios in found.items():
        model, classes = group.rsplit("-", 1)
        interval = mean_interval(ratios)
        rows.append(
            {
                "model": model,
                "tensor": tensor,
                "classes": int(classes),
                "ratio": interval.mean,
                "half_width": interval.half_width,
                "law": 1 / (int(classes) - 1),
            }
        )
    return pd.DataFrame(rows).sort_values(["model", "tensor", "classes"], ignore_index=True)


def _ratios(spectrum: Spectrum) -> dict[str, float]:
    couplings = spectrum.couplings
    tensors = [name.split()[0] for name in spectrum.blocks["name"]]
    owner = couplings["row_block"].map(lambda block: tensors[block])
    same = owner == couplings["column_block"].map(lambda block: tensors[block])
    own = couplings["row_block"] == couplings["column_block"]
    squares = couplings["squared_norm"]
    return {
        tensor: float(
            np.sqrt(
                squares[same & ~own & (owner == tensor)].mean()
                / squares[own & (owner == tensor)].mean()
            )
        )
        for tensor in dict.fromkeys(tensors)
    }
