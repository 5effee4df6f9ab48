"""What the study of RMNP's claim measured: rows of the momentum and of the Hessian, by matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from blockwise.files.spectra import Spectrum, read_spectrum
from blockwise.statistics.intervals import mean_interval

from ..ranks import rank_correlation
from .checkpoints import STATE, checkpoint, tensors_under
from .row_dominance import energy_dominance, independent_dominance, row_dominance

MOMENTUM = {"rmnp": "momentum_buffer"}
"""The groups that are measured, and what their state calls the momentum."""
ROLES = (
    "query", "key", "value", "attention_output", "mlp_gate", "mlp_in", "mlp_out",
)  # fmt: skip
"""Of the matrices that RMNP takes."""
RULES = ("per_row", "per_column", "per_head")


def momentum_table(run: Path, name: str, steps: Sequence[int]) -> pd.DataFrame:
    """Dominance of the rows of every matrix of the momentum, a row per matrix and step.

    step; tensor_name; rows; columns; average, lowest, highest (of r_i over the rows); independent
    (what independent rows of that length have).
    """
    found = []
    for step in steps:
        for tensor, m in tensors_under(checkpoint(run, step) / STATE, name).items():
            if m.ndim != 2:
                continue
            r = row_dominance(m)
            row = {"step": step, "tensor_name": tensor, "rows": m.shape[0], "columns": m.shape[1]}
            row |= {"average": np.nanmean(r), "lowest": np.nanmin(r), "highest": np.nanmax(r)}
            found.append(row | {"independent": independent_dominance(m.shape[1])})
    return pd.DataFrame(found)


def hessian_table(spectrum: Spectrum) -> pd.DataFrame:
    """Energy of the Hessian inside rows, columns and heads, a row per matrix of ROLES and step.

    step; tensor_name; role; layer; row_share, row_lift, column_lift, head_lift; row_dominance,
    column_dominance (r as `energy_dominance` has it).
    """
    energies = spectrum.energies.pivot(
        index=["step", "tensor_name"], columns="rule_name", values=["share", "lift", "blocks"]
    )
    table = pd.DataFrame({
        "row_share": energies["share"]["per_row"],
        "row_lift": energies["lift"]["per_row"],
        "column_lift": energies["lift"]["per_column"],
        "head_lift": energies["lift"]["per_head"],
    })  # fmt: skip
    for name in ("row", "column"):
        shares, blocks = energies["share"][f"per_{name}"], energies["blocks"][f"per_{name}"]
        pairs = zip(shares, blocks, strict=True)
        table[f"{name}_dominance"] = [energy_dominance(share, int(n)) for share, n in pairs]
    places = spectrum.parameters.set_index("name")[["role", "layer"]]
    table = table.reset_index().join(places, on="tensor_name")
    return table[table["role"].isin(ROLES)].reset_index(drop=True)


def measured_table(
    runs: Mapping[tuple[str, int], Path], spectra: Mapping[tuple[str, int], Path]
) -> pd.DataFrame:
    """Both of every group and seed, a row per matrix and step: group; seed; and the columns of
    `momentum_table` and `hessian_table`."""
    tables = []
    for (group, seed), run in runs.items():
        hessian = hessian_table(read_spectrum(spectra[group, seed]))
        momentum = momentum_table(run, MOMENTUM[group], sorted(set(hessian["step"])))
        both = hessian.merge(momentum, on=["step", "tensor_name"], validate="one_to_one")
        tables.append(both.assign(group=group, seed=seed))
    return pd.concat(tables, ignore_index=True)


def role_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Means over layers and seeds, a row per group, step and role; `lowest` and `highest` are the
    ends over all of them, and row_lift_half_width the 95 % half width over seeds."""
    rows = []
    for (group, step, role), cell in measured.groupby(["group", "step", "role"]):
        row = {"group": group, "step": step, "role": role}
        row |= {"average": cell["average"].mean(), "lowest": cell["lowest"].min()}
        row |= {"highest": cell["highest"].max(), "independent": cell["independent"].mean()}
        means = cell.groupby("seed")["row_lift"].mean()
        names = ("row_share", "row_lift", "column_lift", "head_lift")
        row |= {name: cell[name].mean() for name in names}
        row |= {"row_lift_half_width": mean_interval(means.tolist()).half_width}
        rows.append(
            row | {f"{n}_dominance": cell[f"{n}_dominance"].mean() for n in ("row", "column")}
        )
    table = pd.DataFrame(rows)
    order = table["role"].map({role: place for place, role in enumerate(ROLES)})
    return table.iloc[np.lexsort((order, table["step"], table["group"]))].reset_index(drop=True)


def correlation_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Whether the momentum says which matrices the rows hold, a row per group and step.

    Spearman's rank correlation over the matrices between r of the momentum, over that of
    independent rows, and the lift of rows (rows) or of columns (columns) in the Hessian: mean over
    seeds with the 95 % half width; more_rows: share of matrices whose lift of rows is the larger.
    """
    table = measured.assign(relative=measured["average"] / measured["independent"])
    rows = []
    for (group, step), cell in table.groupby(["group", "step"]):
        row: dict[str, object] = {"group": group, "step": step}
        for name in ("row", "column"):
            seeds = [_correlation(one, f"{name}_lift") for _, one in cell.groupby("seed")]
            interval = mean_interval(seeds)
            row |= {f"{name}s": interval.mean, f"{name}s_half_width": interval.half_width}
        row["more_rows"] = float((cell["row_lift"] > cell["column_lift"]).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def _correlation(table: pd.DataFrame, lift: str) -> float:
    value = float(rank_correlation([table["relative"]], [table[lift]])[0])
    return value if math.isfinite(value) else math.nan
