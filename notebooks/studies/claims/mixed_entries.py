"""Gefen's theorem: a large mixed entry between two parameters makes their squared gradients alike.

For F = E[g g'] the Cauchy-Schwarz inequality has it: F_ij^2 <= F_ii F_jj, so that with
c_ij = |F_ij| / max(F_ii, F_jj)

    c_ij^2 <= min(F_ii, F_jj) / max(F_ii, F_jj) <= 1.

The paper says it of mixed second derivatives, H_ij for F_ij, where nothing forces it unless H is
near F. Where c is small the bound says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ranks import rank_correlation
from .inside_blocks import Labels

ALIKE = 0.1
"""A ratio of squared gradients from which two elements count as alike: within a factor of ten."""
_ROUNDING = 1e-4
"""Of float32 products, relative to the bound."""


@dataclass(frozen=True)
class MixedEntries:
    """Over pairs of elements: how often the bound says anything, and whether it holds.

    bound: median of c^2; ratio: median of min / max of the squared gradients; forced: share of
    pairs with c^2 above ALIKE; alike: share with a ratio above ALIKE; broken: share whose ratio is
    below c^2; correlation: Spearman's, of c and the ratio; pairs: their number.
    """

    pairs: int
    bound: float
    ratio: float
    forced: float
    alike: float
    broken: float
    correlation: float


def mixed_entries(
    matrix: np.ndarray, square: np.ndarray, labels: Labels, most: int = 200_000, seed: int = 0
) -> MixedEntries | None:
    """Of the pairs within blocks of a symmetric matrix, a random `most` of them where there are
    more; None without a pair. square: of the gradient, by element; elements where it or the
    matrix's diagonal is 0 are left out."""
    known = np.flatnonzero((square > 0) & (np.diagonal(matrix) != 0))
    i, j = _pairs_within(labels[known], most, seed)
    if len(i) < 2:
        return None
    i, j = known[i], known[j]
    diagonal = np.abs(np.diagonal(matrix))
    c = np.abs(matrix[i, j]) / np.maximum(diagonal[i], diagonal[j])
    ratio = np.minimum(square[i], square[j]) / np.maximum(square[i], square[j])
    bound = np.square(c)
    return MixedEntries(
        pairs=len(i),
        bound=float(np.median(bound)),
        ratio=float(np.median(ratio)),
        forced=float((bound > ALIKE).mean()),
        alike=float((ratio > ALIKE).mean()),
        broken=float((ratio < bound * (1 - _ROUNDING)).mean()),
        correlation=float(rank_correlation([c], [ratio])[0]),
    )


def _pairs_within(labels: Labels, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places i < j with equal labels."""
    i, j = np.triu_indices(len(labels), 1)
    same = np.flatnonzero(labels[i] == labels[j])
    if len(same) > most:
        same = np.random.default_rng(seed).choice(same, most, replace=False)
    return i[same], j[same]
