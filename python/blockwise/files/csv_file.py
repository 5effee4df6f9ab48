"""Tables of numbers and names that the program writes as CSV."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from .hdf5_file import RunFileError
from .input_file import read_input


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """The table; `options` are those of pandas. Raises RunFileError where it cannot be read."""
    try:
        return pd.read_csv(io.BytesIO(read_input(path)), **options)
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (OverflowError, ValueError) as error:
        raise RunFileError(f"{path}: cannot be read: {error}") from error


def require_numbers(path: Path, table: pd.DataFrame, texts: Collection[str]) -> None:
    """Raises RunFileError where a column that is not in `texts` holds something else."""
    for name, column in table.items():
        if len(column) and name not in texts and not pd.api.types.is_numeric_dtype(column):
            raise RunFileError(f"{path}: column '{name}' holds something else than numbers")
