"""When a diagonal preconditioner helps: its condition number against how diagonal the Hessian is.

    table = condition_ratios(dimensions=[12], conditions=[10, 1000], repeats=20)
    condition_ratio_table(table)

Adam without averages divides every coordinate's step by the gradient that it starts with. On the
quadratic w' H w / 2 that replaces H by D H with D = diag(1 / |g_i|), g = H w. The Hessians here
share their eigenvalues and differ in their eigenvectors alone, which a rotation carries from the
coordinate axes to a random dense basis. No program is needed, only seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_ROTATIONS = 25
_TAU_BINS = 10


def condition_ratios(
    dimensions: Sequence[int] = (12, 48),
    conditions: Sequence[float] = (10, 100, 1000, 10000),
    repeats: int = 30,
    seed: int = 1,
) -> pd.DataFrame:
    """A row per Hessian: dimension; condition; rotation; tau; ratio (all without units).

    condition: kappa(H); the eigenvalues lie from 1 to kappa in equal ratios.
    rotation: t in [0, 1] of the basis exp(t S); S is a random skew matrix whose largest angle is
        pi. Hessians of one repeat share S and the point w ~ N(0, I).
    tau: sum_i H_ii^2 / ||H||_F^2, as in the program's table `preconditioning`; 1 is diagonal.
    ratio: r = kappa(D^(1/2) H D^(1/2)) / kappa(H), which is what kappa(D H) means, as D H has the
        same eigenvalues; below 1 the preconditioner helps.
    """
    # More rotations near the axes, where tau falls fast.
    rotations = np.linspace(0, 1, _ROTATIONS) ** 2
    tables = []
    for dimension in dimensions:
        for repeat in range(repeats):
            random = np.random.default_rng([seed, dimension, repeat])
            bases = rotation_path(random, dimension, rotations)
            point = random.standard_normal(dimension)
            for condition in conditions:
                eigenvalues = np.geomspace(1, condition, dimension)
                hessians = (bases * eigenvalues) @ bases.transpose(0, 2, 1)
                columns = {"dimension": dimension, "condition": condition, "rotation": rotations}
                columns["tau"] = diagonal_share(hessians)
                columns["ratio"] = preconditioned_condition(hessians, point) / condition
                tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def rotation_path(
    random: np.random.Generator, dimension: int, rotations: np.ndarray
) -> np.ndarray:
    """The orthogonal matrices exp(t S) for every t, with a random skew S, its largest angle pi.

    i S is Hermitian: with i S = U diag(a) U^H, exp(t S) = U diag(exp(-i t a)) U^H.
    """
    square = random.standard_normal((dimension, dimension))
    angles, vectors = np.linalg.eigh(1j * (square - square.T))
    angles *= np.pi / np.abs(angles).max()
    phases = np.exp(-1j * rotations[:, None] * angles)
    return np.real((vectors * phases[:, None, :]) @ vectors.conj().T)


def diagonal_share(matrices: np.ndarray) -> np.ndarray:
    """tau = sum_i H_ii^2 / sum_ij H_ij^2 of the last two axes, in (0, 1]; 1 is diagonal.

    The program's tau: products with random vectors estimate it of any block. The share of absolute
    values, sum |H_ii| / sum |H_ij|, by which others say how diagonal a matrix is, needs the matrix.
    """
    squares = np.square(matrices)
    return np.trace(squares, axis1=-2, axis2=-1) / squares.sum(axis=(-2, -1))


def preconditioned_condition(hessians: np.ndarray, point: np.ndarray) -> np.ndarray:
    """kappa(D^(1/2) H D^(1/2)) with D = diag(1 / |H w|), for a stack of positive definite H."""
    scales = 1 / np.sqrt(np.abs(hessians @ point))
    eigenvalues = np.linalg.eigvalsh(scales[:, :, None] * hessians * scales[:, None, :])
    return eigenvalues[:, -1] / eigenvalues[:, 0]


def condition_ratio_table(ratios: pd.DataFrame) -> pd.DataFrame:
    """A row per dimension, condition and tenth of tau, the most diagonal first.

    dimension; condition; tau (median within the tenth); count (Hessians); median, low, high (the
    ratio's quartiles).
    """
    tenth = np.minimum((ratios["tau"] * _TAU_BINS).astype(int), _TAU_BINS - 1).rename("tenth")
    groups = ratios.groupby(["dimension", "condition", tenth])
    table = groups.agg(
        tau=("tau", "median"),
        count=("ratio", "size"),
        median=("ratio", "median"),
        low=("ratio", lambda values: values.quantile(0.25)),
        high=("ratio", lambda values: values.quantile(0.75)),
    ).reset_index()
    order = ["dimension", "condition", "tau"]
    table = table.sort_values(order, ascending=[True, True, False], ignore_index=True)
    return table.drop(columns="tenth")
