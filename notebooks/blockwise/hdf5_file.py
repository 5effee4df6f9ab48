"""Opens the HDF5 files that the program writes, also beside their writer, and says what is wrong.

Files are opened in single-writer-multiple-reader mode, so that one can be read while it is being
written and after its program was killed. Nothing here writes.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pandas as pd

Content = TypeVar("Content")

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FORMAT_VERSION = 1
_READ_ATTEMPTS = 20
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
    with _open(path, kind) as file:
        try:
            _check_format(path, file, kind)
            _check_extent(path, file)
            return read(file)
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise _damaged(path, kind, error) from error


class _DamagedError(RunFileError):
    """What a file looks like that is damaged, or that is read in an unlucky moment."""


def _damaged(path: Path, kind: FileKind, error: object) -> _DamagedError:
    reason = str(error).strip("'\"")
    return _DamagedError(
        f"{path}: this {kind.name} file is damaged or was cut short ({reason}). Put a copy of it "
        f"back, or {kind.remedy}."
    )


# ---- before anything is read -------------------------------------------------------------------


def _check_signature(path: Path, kind: FileKind) -> None:
    try:
        with path.open("rb") as stream:
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


def _open(path: Path, kind: FileKind) -> h5py.File:
    """Opens for reading beside a writer; if HDF5 refuses that, as an ordinary file."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    _limit_read_attempts(access)
    flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    try:
        return h5py.File(h5py.h5f.open(os.fsencode(path), flags, fapl=access))
    except OSError as error:
        try:
            return h5py.File(path, "r")
        except OSError:
            pass
        if isinstance(error, BlockingIOError):
            raise RunFileError(
                f"{path}: a program has just begun to write this file; try again in a moment."
            ) from error
        raise _damaged(path, kind, error) from error


def _limit_read_attempts(access: Any) -> None:
    """Makes HDF5 give up on damaged metadata after about a millisecond.

    Beside a writer, it reads metadata with a wrong checksum again, 100 times, and waits twice as
    long before each: for ever. `h5py.File(swmr=True)` hangs on such a file, and h5py has no call
    for the number of attempts, but the library below it has.
    """
    try:
        library = ctypes.CDLL(h5py.h5p.__file__)
        set_attempts = library.H5Pset_metadata_read_attempts
    except (OSError, AttributeError):
        return  # only damaged files need it
    set_attempts(ctypes.c_int64(access.id), ctypes.c_uint(_READ_ATTEMPTS))


def _check_format(path: Path, file: h5py.File, kind: FileKind) -> None:
    found = text(file.attrs.get("format", ""))
    if found not in kind.formats:
        raise RunFileError(
            f"{path}: an HDF5 file, but not a {kind.name} (its attribute `format` is '{found}', a "
            f"{kind.name} has '{kind.formats[0]}'). {kind.give}."
        )
    version = int(file.attrs.get("format_version", 0))
    if version != _FORMAT_VERSION:
        raise RunFileError(
            f"{path}: format version {version}, this reader knows {_FORMAT_VERSION}. Use the "
            "Python package that came with the program that wrote the file."
        )


def _check_extent(path: Path, file: h5py.File) -> None:
    """Every dataset must lie inside the file.

    HDF5 does not check this for files opened beside a writer, and would read zeros there.
    """
    datasets: list[h5py.Dataset] = []

    def collect(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            datasets.append(item)

    file.visititems(collect)
    ends = [(dataset.name, _end(dataset)) for dataset in datasets]
    size = path.stat().st_size  # after the ends: a file that is being written only grows
    for name, end in ends:
        if end > size:
            raise ValueError(f"{name} goes to byte {end}, the file has {size}")


def _end(dataset: h5py.Dataset) -> int:
    """First byte after the dataset's values in the file; 0 while nothing is stored."""
    if dataset.chunks is not None:
        ends = [0]
        dataset.id.chunk_iter(lambda chunk: ends.append(int(chunk.byte_offset + chunk.size)))
        return max(ends)
    offset = dataset.id.get_offset()
    return 0 if offset is None else int(offset) + int(dataset.id.get_storage_size())


# ---- what every file has -----------------------------------------------------------------------


def read_frame(group: h5py.Group, known: Sequence[str]) -> pd.DataFrame:
    """The columns of a group, as far as all of them go: a live file grows column by column.

    Those in `known` must exist and come first; further ones follow by name.
    """
    missing = [name for name in known if name not in group]
    if missing:
        raise KeyError(f"no dataset {group.name}/{missing[0]}")
    further = [name for name, item in group.items() if name not in known and _is_column(item)]
    columns = {name: group[name][()] for name in (*known, *further)}
    rows = min(len(values) for values in columns.values())
    return pd.DataFrame({name: _values(values[:rows]) for name, values in columns.items()})


def _is_column(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim == 1


def _values(values: np.ndarray) -> Any:
    return [text(value) for value in values] if values.dtype.kind in "SO" else values


def read_provenance(file: h5py.File) -> dict[str, str | int]:
    """Program, commit, compiler, device, threads, ...: what made the file."""
    return {name: _plain(value) for name, value in file["provenance"].attrs.items()}


def read_status(file: h5py.File) -> tuple[str, str]:
    """The name of the state that the writer is or was in, and its message."""
    state = file["status/state"]
    names = {value: name for name, value in h5py.check_enum_dtype(state.dtype).items()}
    return names[int(state[()])], text(file["status/message"][()])


def text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> str | int:
    return int(value) if isinstance(value, int | np.integer) else text(value)
