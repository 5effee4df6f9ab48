"""Opens the HDF5 files that the program writes, also beside their writer, and says what is wrong.

Files are opened in single-writer-multiple-reader mode, so that one can be read while it is being
written and after its program was killed. Nothing here writes. A file is trusted only after another
process has walked through all of it (hdf5_guard.py); what it then lacks, or has in another type or
shape than the program writes, is a RunFileError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pandas as pd

from .hdf5_guard import BusyError, EndlessError, GuardError, check_hdf5
from .hdf5_walk import open_hdf5
from .input_file import open_input

Content = TypeVar("Content")

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FORMAT_VERSION = 1
_RETRY_SECONDS = (0.05, 0.2)  # a file that is just being written may be caught between two states


class RunFileError(Exception):
    """A file that cannot be read as what was asked for; the message names it and what to do."""


@dataclass(frozen=True)
class FileKind:
    """What a reader accepts, and the words of its error messages.

    formats: values of the root attribute `format`, the usual one first. name: what the content is.
    give: which file to give instead. missing: why there may be no file yet. remedy: what to do
    about a damaged one.
    """

    formats: tuple[str, ...]
    name: str
    give: str
    missing: str
    remedy: str


def read_file(path: Path, kind: FileKind, read: Callable[[h5py.File], Content]) -> Content:
    """What `read` makes of the open file.

    Raises RunFileError for a file that is missing, no HDF5, of another kind or damaged. A file that
    looks damaged is tried again: its writer may have been in the middle of something.
    """
    for seconds in _RETRY_SECONDS:
        try:
            return _read_once(path, kind, read)
        except _DamagedError:
            time.sleep(seconds)
    return _read_once(path, kind, read)


def _read_once(path: Path, kind: FileKind, read: Callable[[h5py.File], Content]) -> Content:
    _check_signature(path, kind)
    _check_whole(path, kind)
    # Whatever a reader stumbles over in a file that is not what it says ends as one error.
    try:
        with open_hdf5(path) as file:
            _check_format(path, file, kind)
            return read(file)
    except RunFileError:
        raise
    except Exception as error:
        raise _damaged(path, kind, error) from error


class _DamagedError(RunFileError):
    """What a file looks like that is damaged, or that is read in an unlucky moment."""


def _damaged(path: Path, kind: FileKind, error: Exception) -> _DamagedError:
    # A KeyError prints its text between quotes.
    reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    reason = " ".join(reason.split()) or type(error).__name__
    return _DamagedError(
        f"{path}: this {kind.name} file is damaged or was cut short ({reason}). Put a copy of it "
        f"back, or {kind.remedy}."
    )


# ---- before anything is read -------------------------------------------------------------------


def _check_signature(path: Path, kind: FileKind) -> None:
    try:
        with open_input(path) as stream:
            start = stream.read(len(_HDF5_SIGNATURE))
    except FileNotFoundError:
        raise RunFileError(f"{path}: there is no such file. {kind.missing}.") from None
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error
    if start != _HDF5_SIGNATURE:
        what = "is empty" if not start else "is no HDF5 file"
        raise RunFileError(
            f"{path}: {what}. {kind.give}; if this is one, it is damaged: {kind.remedy}."
        )


def _check_whole(path: Path, kind: FileKind) -> None:
    try:
        check_hdf5(path)
    except BusyError as error:
        raise RunFileError(
            f"{path}: a program has just begun to write this file; try again in a moment."
        ) from error
    except EndlessError as error:  # not to be tried again
        raise RunFileError(str(_damaged(path, kind, error))) from error
    except GuardError as error:
        raise _damaged(path, kind, error) from error
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error


def _check_format(path: Path, file: h5py.File, kind: FileKind) -> None:
    found = text_attribute(file, "format") if "format" in file.attrs else ""
    if found not in kind.formats:
        raise RunFileError(
            f"{path}: an HDF5 file, but not a {kind.name} (its attribute `format` is '{found}', a "
            f"{kind.name} has '{kind.formats[0]}'). {kind.give}."
        )
    version = integer_attribute(file, "format_version")
    if version != _FORMAT_VERSION:
        raise RunFileError(
            f"{path}: format version {version}, this reader knows {_FORMAT_VERSION}. Use the "
            "Python package that came with the program that wrote the file."
        )


# ---- what every file has -----------------------------------------------------------------------


def read_frame(
    group: h5py.Group,
    known: Sequence[str],
    *,
    texts: Collection[str] = (),
    integers: Collection[str] = (),
    growing: bool = False,
) -> pd.DataFrame:
    """The columns of a group.

    Those in `known` must exist and come first; further ones follow by name. Known columns are
    numbers, but for those in `texts`; those in `integers` are whole ones. All must have the same
    length, unless the group is growing: then the rows go as far as all of the columns do, because a
    live file grows column by column.
    """
    kinds = {name: _kind(name, texts, integers) for name in known}
    columns = {name: column(group, name, kind) for name, kind in kinds.items()}
    further = [name for name, item in group.items() if name not in known and _is_column(item)]
    columns |= {name: column(group, name, _ANY) for name in further}
    rows = min(len(values) for values in columns.values())
    if not growing:
        for name, values in columns.items():
            if len(values) != rows:
                raise ValueError(f"{group.name}/{name}: {len(values)} rows, others have {rows}")
    return pd.DataFrame({name: _values(values[:rows]) for name, values in columns.items()})


def _kind(name: str, texts: Collection[str], integers: Collection[str]) -> str:
    if name in texts:
        return TEXT
    return _INTEGER if name in integers else _NUMBER


def _is_column(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.kind in _ANY


def _values(values: np.ndarray) -> Any:
    return [text(value) for value in values] if values.dtype.kind in TEXT else values


def read_provenance(file: h5py.File) -> dict[str, str | int]:
    """Program, commit, compiler, device, threads, ...: what made the file."""
    place = subgroup(file, "provenance")
    return {name: _plain(place, name) for name in place.attrs}


def read_processes(file: h5py.File) -> pd.DataFrame:
    """A row per process that worked on the file: from_step, threads, ranks, and its provenance.

    Where several made a run together (ranks) it is the one that wrote. A file of an earlier version names the first process alone.
    """
    place = subgroup(file, "provenance")
    if "processes" in place:
        table = subgroup(place, "processes")
        numbers = tuple(name for name in ("from_step", "threads", "ranks") if name in table)
        return read_frame(table, numbers, integers=numbers)
    first = read_provenance(file)
    first.pop("seed", None)
    return pd.DataFrame([{"from_step": 1, "threads": first.pop("threads", 0), **first}])


def read_status(file: h5py.File) -> tuple[str, str]:
    """The name of the state that the writer is or was in, and its message."""
    state = dataset(file, "status/state")
    names = {value: name for name, value in (h5py.check_enum_dtype(state.dtype) or {}).items()}
    number = scalar_integer(file, "status/state")
    if number not in names:
        raise ValueError(f"{state.name}: {number} is no state")
    return names[number], scalar_text(file, "status/message")


# ---- one thing, with its place in the error ----------------------------------------------------

# Kinds of values, by the letters that NumPy has for them.
_INTEGER, _NUMBER, TEXT = "iu", "iuf", "SO"
_ANY = _NUMBER + TEXT
_KIND_NAMES = {_INTEGER: "integers", _NUMBER: "numbers", TEXT: "text", _ANY: "numbers or text"}


def subgroup(parent: h5py.Group, name: str) -> h5py.Group:
    place = f"{parent.name.rstrip('/')}/{name}"
    item = parent.get(name)
    if not isinstance(item, h5py.Group):
        raise ValueError(f"no group {place}" if item is None else f"{place}: is no group")
    return item


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    place = f"{parent.name.rstrip('/')}/{name}"
    item = parent.get(name)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"no dataset {place}" if item is None else f"{place}: is no dataset")
    return item


def column(parent: h5py.Group, name: str, kind: str = _NUMBER) -> np.ndarray:
    """The values of a dataset with one dimension."""
    return _read(dataset(parent, name), 1, kind)


def rows_of_numbers(parent: h5py.Group, name: str) -> np.ndarray:
    """The values of a dataset with two dimensions."""
    return _read(dataset(parent, name), 2, _NUMBER)


def scalar_integer(parent: h5py.Group, name: str) -> int:
    return int(_read(dataset(parent, name), 0, _INTEGER)[()])


def scalar_text(parent: h5py.Group, name: str) -> str:
    return text(_read(dataset(parent, name), 0, TEXT)[()])


def _read(item: h5py.Dataset, dimensions: int, kind: str) -> np.ndarray:
    if item.shape is None or item.ndim != dimensions:
        raise ValueError(f"{item.name}: of shape {item.shape}, not of {dimensions} dimensions")
    if item.dtype.kind not in kind or (item.dtype.kind == "O" and not _is_text(item.dtype)):
        raise ValueError(f"{item.name}: of type {item.dtype}, not {_KIND_NAMES[kind]}")
    return np.asarray(item[()])


def _is_text(dtype: np.dtype) -> bool:
    return h5py.check_string_dtype(dtype) is not None


def text_attribute(item: h5py.HLObject, name: str) -> str:
    value = _attribute(item, name)
    if not isinstance(value, str | bytes):
        raise ValueError(f"{item.name}: attribute '{name}' is no text")
    return text(value)


def integer_attribute(item: h5py.HLObject, name: str) -> int:
    value = _attribute(item, name)
    if not isinstance(value, int | np.integer):
        raise ValueError(f"{item.name}: attribute '{name}' is no integer")
    return int(value)


def _attribute(item: h5py.HLObject, name: str) -> Any:
    if name not in item.attrs:
        raise ValueError(f"{item.name}: no attribute '{name}'")
    return item.attrs[name]


def _plain(item: h5py.HLObject, name: str) -> str | int:
    value = item.attrs[name]
    number = isinstance(value, int | np.integer)
    return integer_attribute(item, name) if number else text_attribute(item, name)


def text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
