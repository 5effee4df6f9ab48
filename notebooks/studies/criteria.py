"""What the criteria of `blockwise partition` say about adam_mini's blocks, by role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from blockwise.files.partition_scores import read_scores

CRITERIA = {"lift": -1, "diagonal_inside": 1, "spread": 1, "signal_to_noise": -1}
"""Columns of scores.csv, with the sign that makes larger predict a larger gain from refining."""

_FOLDER = "scores-"


def find_scores(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """The folders scores-WIDTH in a sweep's folder that hold a scores.csv, by the model's width."""
    found = {path.parent.name: path.parent for path in Path(folder).glob(f"{_FOLDER}*/scores.csv")}
    widths = {name.removeprefix(_FOLDER): path for name, path in found.items()}
    return {int(width): path for width, path in sorted(widths.items()) if width.isdecimal()}


def criteria_table(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The criteria of adam_mini's structures, means over the tensors of a role; a row per role.

    role; tensors (their number); lift (Hessian energy inside blocks above chance: high is good);
    diagonal_inside (share of the variance of log |diagonal of the Hessian| left inside blocks: low
    is homogeneous); spread (standard deviation of log v inside blocks, nats); signal_to_noise
    (of v inside blocks: high is good). NaN: measured for no tensor.
    """
    scores = read_scores(folder)
    by_role = scores[scores["adam_mini"] == 1].groupby("role", sort=False)
    table = by_role[list(CRITERIA)].mean()
    table.insert(0, "tensors", by_role.size())
    return table.reset_index()


def criteria_by_size(folders: Mapping[int, str | os.PathLike[str]]) -> pd.DataFrame:
    """`criteria_table` of a folder per width of the model, which goes into the column n_embd."""
    tables = [criteria_table(path).assign(n_embd=width) for width, path in folders.items()]
    columns = ["n_embd", "role", "tensors", *CRITERIA]
    if not tables:
        return pd.DataFrame(columns=columns)
    return pd.concat(tables, ignore_index=True)[columns]
