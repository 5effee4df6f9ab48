"""Whether a partition that was found at one model, or early, is found again at another, or later.

Folders are those of `blockwise partition`, each with a scores.csv. Sections are matched by role and
layer; of models of different depth only the layers that both have are compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_scores import read_scores

from .ranks import rank_correlation

Folders = Mapping[str, str | os.PathLike[str]]


def score_folders(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """The folders in a folder that hold a scores.csv, by their names, in alphabetical order."""
    found = {path.parent.name: path.parent for path in Path(folder).glob("*/scores.csv")}
    if not found:
        raise RunFileError(f"{folder}: no folder in it has a scores.csv of `blockwise partition`")
    return dict(sorted(found.items()))


def choice_table(folders: Folders) -> pd.DataFrame:
    """The chosen candidate of every section of a matrix.

    A row per role and layer (-1: none), in the first folder's order and then what only others have;
    a column per folder, under its name. NaN: that model has no such section.
    """
    columns = {name: _choices(path) for name, path in folders.items()}
    places = dict.fromkeys(place for column in columns.values() for place in column.index)
    index = pd.MultiIndex.from_tuples(list(places), names=["role", "layer"])
    return pd.DataFrame({name: column.reindex(index) for name, column in columns.items()})


def choice_agreement(folders: Folders) -> pd.DataFrame:
    """How far the choices of two folders agree; a row per pair.

    a, b (names); sections (that both have); agreement: share of them with the same candidate;
    chance = sum over candidates of p_a p_b, the agreement to expect of independent choices that are
    as frequent as these; kappa = (agreement - chance) / (1 - chance), Cohen's: 1 the same, 0 no
    more than chance, NaN where both always choose one and the same; loss_correlation: Spearman's
    rank correlation between the objective's losses of the candidates of a section, of those that
    both measured, mean over sections (NaN: none has two unlike candidates).
    """
    choices = choice_table(folders)
    losses = {name: _losses(path) for name, path in folders.items()}
    rows = []
    for a, b in combinations(folders, 2):
        both = choices[[a, b]].dropna()
        row = {"a": a, "b": b, "sections": len(both)} | _agreement(both[a], both[b])
        rows.append(row | {"loss_correlation": _loss_correlation(losses[a], losses[b])})
    return pd.DataFrame(rows)


def _choices(folder: str | os.PathLike[str]) -> pd.Series:
    scores = read_scores(folder)
    chosen = scores[scores["chosen"] == 1].set_index(["role", "layer"])["candidate"]
    if not chosen.index.is_unique:
        twice = chosen.index[chosen.index.duplicated()][0]
        raise RunFileError(f"{folder}: several sections are {twice[0]} of layer {twice[1]}")
    return chosen


def _agreement(a: pd.Series, b: pd.Series) -> dict[str, float]:
    if a.empty:
        return {"agreement": np.nan, "chance": np.nan, "kappa": np.nan}
    agreement = float((a == b).mean())
    shares = (one.value_counts(normalize=True) for one in (a, b))
    chance = float(next(shares).mul(next(shares), fill_value=0.0).sum())
    kappa = (agreement - chance) / (1 - chance) if chance < 1 else np.nan
    return {"agreement": agreement, "chance": chance, "kappa": kappa}


def _losses(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Losses by role and layer (rows) and candidate (columns)."""
    scores = read_scores(folder)
    return scores.pivot(index=["role", "layer"], columns="candidate", values="loss")


def _loss_correlation(a: pd.DataFrame, b: pd.DataFrame) -> float:
    a, b = a.align(b, join="inner")
    coefficients = rank_correlation(a, b)
    known = coefficients[~np.isnan(coefficients)]
    return float(known.mean()) if len(known) else np.nan
