"""The table of the study as Markdown, for people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Cell = Callable[[pd.Series], str]

NONE = "-"


def markdown(table: pd.DataFrame, baseline: str) -> str:
    """Of a `study_table`; without columns that say nothing, or nothing that differs."""
    columns = _columns(baseline)
    if table["energy_joules"].isna().all():
        del columns["energy, J"]
    if table["parameters"].nunique() == 1:
        del columns["parameters"], columns["lasting, MiB"]
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[cell(row) for cell in columns.values()] for _, row in table.iterrows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _columns(baseline: str) -> dict[str, Cell]:
    return {
        "optimizer": lambda row: row["group"],
        "parameters": lambda row: f"{row['parameters']:,}",
        "rate": lambda row: f"{row['learning_rate']:g}" + " (edge)" * row["rate_at_end"],
        "tried": lambda row: str(row["tried"]),
        "loss": _loss,
        f"difference to {baseline}": lambda row: _difference(row, row["group"] == baseline),
        "p, Holm": lambda row: _p_value(row["holm"]),
        "band, octaves": _band,
        "state, B/parameter": lambda row: _per_parameter(row, "state_bytes"),
        "lasting, B/parameter": lambda row: _per_parameter(row, "lasting_bytes"),
        "lasting, MiB": lambda row: _number(row["lasting_bytes"] / 2**20, ".3f"),
        "peak, MiB": lambda row: _number(row["peak_bytes"] / 2**20, ".1f"),
        "step, ms": lambda row: _number(1e3 * row["step_seconds"], ".1f"),
        "passes at": lambda row: _effort(row, "pass"),
        "mean there at": lambda row: _effort(row, "mean"),
        "energy, J": lambda row: _number(row["energy_joules"], ".0f"),
    }


def _loss(row: pd.Series) -> str:
    notes = [f"{row['diverged']} of {row['seeds']} diverged"] if row["diverged"] else []
    notes += [] if row["confirmed"] else ["not confirmed"]
    return _interval(row["loss"], row["half_width"], "") + _in_brackets(notes)


def _difference(row: pd.Series, is_baseline: bool) -> str:
    return "" if is_baseline else _interval(row["difference"], row["difference_half_width"], "+")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else _number(value, ".3f")


def _interval(mean: float, half_width: float, sign: str) -> str:
    if np.isnan(mean):
        return NONE
    return f"{mean:{sign}.4f}" + ("" if np.isnan(half_width) else f" ± {half_width:.4f}")


def _in_brackets(notes: list[str]) -> str:
    return f" ({', '.join(notes)})" if notes else ""


def _band(row: pd.Series) -> str:
    if np.isnan(row["octaves"]):
        return NONE
    ends = f"{row['band_low']:g}"
    if row["band_high"] > row["band_low"]:
        ends += f" .. {row['band_high']:g}"
    return ("≥ " if row["band_at_end"] else "") + f"{row['octaves']:.1f} ({ends})"


def _per_parameter(row: pd.Series, name: str) -> str:
    return _number(row[name] / row["parameters"], ".2f")


def _effort(row: pd.Series, kind: str) -> str:
    steps, seconds = row[f"{kind}_steps"], row[f"{kind}_seconds"]
    return NONE if np.isnan(steps) else f"{steps:.0f} steps, {seconds:.1f} s"


def _number(value: float, kind: str) -> str:
    return NONE if np.isnan(value) else f"{value:{kind}}"
