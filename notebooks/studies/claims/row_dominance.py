"""How far the rows of a matrix dominate: RMNP's measure of the momentum, and that of the Hessian.

RMNP (arXiv 2603.20527) gives every row of a matrix the norm 1 and says why by G = M M' of the
momentum M [rows, columns]: r_i = |G_ii| / mean over j != i of |G_ij| is above 1. Of the Hessian of
the same matrix, whose rows are blocks H_ij, the same ratio with norms of blocks for numbers, as a
root mean square over rows and pairs, follows from the share s of the energy inside rows:

    r = sqrt( mean_i ||H_ii||^2 / mean_{i != j} ||H_ij||^2 ) = sqrt((rows - 1) s / (1 - s))
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def row_dominance(matrix: ArrayLike) -> NDArray[np.float64]:
    """r_i of every row of M [rows, columns], two rows at least; NaN where one meets only zeros."""
    m = np.asarray(matrix, dtype=float)
    if m.ndim != 2 or len(m) < 2:
        raise ValueError(f"a matrix of at least two rows is needed, not {m.shape}")
    products = np.abs(m @ m.T)
    own = np.diagonal(products)
    others = (products.sum(axis=1) - own) / (len(m) - 1)
    return np.divide(own, others, out=np.full(len(m), np.nan), where=others > 0)


def independent_dominance(columns: int) -> float:
    """What r_i is of independent Gaussian rows of equal norms: 1 / E|cos| of two directions,

    sqrt(pi) Gamma((n + 1) / 2) / Gamma(n / 2), near sqrt(pi n / 2).
    """
    return math.sqrt(math.pi) * math.exp(math.lgamma((columns + 1) / 2) - math.lgamma(columns / 2))


def energy_dominance(share: float, blocks: int) -> float:
    """r of a Hessian with this share of its energy inside so many equal blocks."""
    return math.sqrt((blocks - 1) * share / (1 - share)) if 0 <= share < 1 else math.nan


def share_of_dominance(dominance: float, blocks: int) -> float:
    """The share of the energy that r stands for: r^2 / (r^2 + blocks - 1)."""
    return dominance**2 / (dominance**2 + blocks - 1)
