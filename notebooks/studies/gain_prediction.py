"""Whether a criterion predicts in which roles a finer second moment trains better.

The worse a role's blocks by a criterion, the more should refining them gain.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from blockwise.files.sweep import Sweep

from .attribution_tables import role_differences, roles_of
from .criteria import CRITERIA
from .ranks import rank_correlation

ALL = "all"
"""Size and length of a row that is pooled over them."""

_BOOTSTRAP_SEED = 20260101

Cell: TypeAlias = tuple[object, object]
"""Size and length."""

Found: TypeAlias = dict[str, tuple[int, NDArray[np.float64]]]
"""By criterion the number of roles and the coefficients, the sample's first, then the draws'."""

Draws: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Places of roles [draws, roles] and of seeds [draws, seeds]; in the first row as they are."""


def criteria_correlation(
    sweep: Sweep, criteria: pd.DataFrame, resamples: int = 2000
) -> pd.DataFrame:
    """Spearman's rank correlation over roles of each criterion with the gain from refining.

    criteria: of `criteria_by_size`; gain = -(mean over seeds of the refined role's final loss less
    the baseline's). Criteria have their sign of CRITERIA: 1 is a perfect prediction, 0 none.
    n_embd; steps; criterion; roles (that have both); correlation; low, high (2.5 and 97.5 %
    quantiles of a bootstrap that draws roles and seeds anew, the same ones for all sizes and
    lengths, always from the same random numbers; what the criteria themselves are off by is not in
    it). The rows `all`: the mean of the coefficients of all sizes and lengths, so that only the
    order of roles within each of them counts. Sizes without criteria have no rows. NaN: fewer than
    two roles, or all alike.
    """
    cells: dict[Cell, Found] = {}
    for cell, gain in _gains(sweep).items():
        known = criteria[criteria["n_embd"] == cell[0]].set_index("role")
        if not known.empty:
            cells[cell] = _correlations(gain, known.reindex(gain.index), resamples)
    if cells:
        cells[ALL, ALL] = _pooled(list(cells.values()))
    rows = [
        (*cell, name, count, *_interval(coefficients))
        for cell, found in cells.items()
        for name, (count, coefficients) in found.items()
    ]
    columns = ["n_embd", "steps", "criterion", "roles", "correlation", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _gains(sweep: Sweep) -> dict[Cell, pd.DataFrame]:
    """What refining gains (nats per token), by size and length.

    All have the same roles (rows) and seeds (columns).
    """
    differences = role_differences(sweep)
    refined = differences[differences["change"] == "refine"]
    roles, seeds = roles_of(refined), sorted(refined["seed"].unique())
    tables = {
        cell: rows.pivot(index="role", columns="seed", values="difference")
        for cell, rows in refined.groupby(["n_embd", "steps"])
    }
    return {cell: -table.reindex(index=roles, columns=seeds) for cell, table in tables.items()}


def _correlations(gain: pd.DataFrame, criteria: pd.DataFrame, resamples: int) -> Found:
    roles, seeds = gain.shape
    draws = _draws(roles, seeds, resamples)
    found: Found = {}
    for name, sign in CRITERIA.items():
        values = sign * criteria[name].to_numpy(dtype=float)
        count = int((~np.isnan(values) & gain.notna().any(axis=1)).sum())
        found[name] = count, _coefficients(values, gain.to_numpy(), draws)
    return found


def _pooled(cells: list[Found]) -> Found:
    pooled: Found = {}
    for name in CRITERIA:
        counts, coefficients = zip(*(found[name] for found in cells), strict=True)
        pooled[name] = max(counts), _known_mean(np.array(coefficients), axis=0)
    return pooled


def _draws(roles: int, seeds: int, resamples: int) -> Draws:
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    of_roles = generator.integers(roles, size=(resamples, roles))
    of_seeds = generator.integers(seeds, size=(resamples, seeds))
    return np.vstack([np.arange(roles), of_roles]), np.vstack([np.arange(seeds), of_seeds])


def _coefficients(
    values: NDArray[np.float64], gains: NDArray[np.float64], draws: Draws
) -> NDArray[np.float64]:
    """Of every draw; values [roles], gains [roles, seeds]."""
    roles, seeds = draws
    drawn = gains[roles[:, :, None], seeds[:, None, :]]
    return rank_correlation(values[roles], _known_mean(drawn, axis=2))


def _known_mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of what is not NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis, dtype=float)
    count[count == 0] = np.nan
    return np.where(known, values, 0.0).sum(axis=axis) / count


def _interval(coefficients: NDArray[np.float64]) -> tuple[float, float, float]:
    """The coefficient of the sample, and the bootstrap's quantiles; draws of one role have none."""
    drawn = coefficients[1:][~np.isnan(coefficients[1:])]
    if len(drawn) == 0 or np.isnan(coefficients[0]):
        return float(coefficients[0]), np.nan, np.nan
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(coefficients[0]), float(low), float(high)
