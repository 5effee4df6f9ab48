"""Spearman's rank correlation, of many samples at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def rank_correlation(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Spearman's coefficient between every row of x and the same row of y, both [rows, items].

    The correlation of ranks, ties at their average rank. Items where either is NaN are left out.
    NaN where fewer than two items are left, or all of them are equal in x or in y.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = (_centred_ranks(np.where(known, values, np.nan)) for values in (x, y))
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    scale[scale == 0] = np.nan
    return np.clip((x * y).sum(axis=1) / scale, -1, 1)


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks less their mean; 0 for NaN, which then adds nothing to a sum."""
    ranks = pd.DataFrame(values).rank(axis=1)
    return ranks.sub(ranks.mean(axis=1), axis=0).fillna(0.0).to_numpy()
