"""Tables as the studies print them."""

from __future__ import annotations

import pandas as pd


def print_table(title: str, table: pd.DataFrame) -> None:
    with pd.option_context("display.width", 250, "display.max_columns", 40):
        text = table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
    print(f"{title}\n{text}\n", flush=True)
