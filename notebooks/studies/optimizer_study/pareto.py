"""Which groups no other one beats in two quantities at once."""

from __future__ import annotations

import pandas as pd


def pareto_front(table: pd.DataFrame, cost: str, loss: str) -> pd.DataFrame:
    """The rows that no row has both a lower-or-equal cost and a lower-or-equal loss than.

    By ascending cost, and so by descending loss; of equal rows the first. Rows with a NaN are none.
    """
    known = table.dropna(subset=[cost, loss])
    ordered = known.sort_values([cost, loss], kind="stable")
    lowest_before = ordered[loss].cummin().shift(fill_value=float("inf"))
    return ordered[ordered[loss] < lowest_before]
