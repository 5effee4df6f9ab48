"""Walks an HDF5 file that may be damaged: every link, object, attribute and value once.

The HDF5 library trusts what it reads: a damaged file can crash the process or keep it busy for
ever. `serve` is for a process of its own, which may die of it (hdf5_guard.py); a file that it came
through holds no surprise of this kind any more.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

_READ_ATTEMPTS = 20
_SLAB_BYTES = 16 << 20
# The most that deflate makes of a byte is 1032. Our program does not compress; h5repack can.
_LARGEST_COMPRESSION = 1100
_SPARE_MEMORY = 1 << 30


def open_hdf5(path: Path) -> h5py.File:
    """Opens for reading beside a writer; if HDF5 refuses that, as an ordinary file.

    Raises OSError; BlockingIOError where a writer has just begun.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    _limit_read_attempts(access)
    flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    try:
        return h5py.File(h5py.h5f.open(os.fsencode(path), flags, fapl=access))
    except OSError:
        try:
            return h5py.File(path, "r")
        except OSError:
            pass
        raise


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


# ---- the walk ----------------------------------------------------------------------------------


def walk(path: Path) -> None:
    """Raises OSError, ValueError and whatever h5py raises; the message says where and what."""
    size = path.stat().st_size
    with open_hdf5(path) as file:
        seen: set[tuple[int, int]] = set()
        for name, item in _objects(file, seen):
            try:
                _read_object(item, size)
            except Exception as error:
                raise ValueError(f"{name}: {error}") from error


def _objects(file: h5py.File, seen: set[tuple[int, int]]) -> Iterator[tuple[str, Any]]:
    """Every object with its name. An object with two names is refused: that may be a cycle."""
    pending: list[tuple[str, Any]] = [("/", file["/"])]
    while pending:
        name, item = pending.pop()
        info = h5py.h5o.get_info(item.id)
        if (info.fileno, info.addr) in seen:
            raise ValueError(f"{name}: is the same object as one with another name")
        seen.add((info.fileno, info.addr))
        yield name, item
        if isinstance(item, h5py.Group):
            pending.extend(_children(name, item))


def _children(name: str, group: h5py.Group) -> Iterator[tuple[str, Any]]:
    for child in group:
        path = f"{name.rstrip('/')}/{child}"
        # A link by name may lead to another file, or round in a circle.
        if not isinstance(group.get(child, getlink=True), h5py.HardLink):
            raise ValueError(f"{path}: is a link to another place, not an object")
        yield path, group[child]


def _read_object(item: Any, size: int) -> None:
    for _ in item.attrs.items():
        pass
    if isinstance(item, h5py.Dataset) and item.shape is not None:
        _check_storage(item, size)
        _read_values(item)


def _check_storage(dataset: h5py.Dataset, size: int) -> None:
    """The values must lie in the file, all of them.

    HDF5 does not check this for files opened beside a writer, and would read zeros there.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_external_count() > 0 or dataset.is_virtual:
        raise ValueError("its values are in another file")
    stored, end = _stored(dataset)
    # A file that is being written only grows, and may have since its size was looked at.
    if end > size and end > os.stat(dataset.file.filename).st_size:
        raise ValueError(f"goes to byte {end}, the file has {size}")
    announced = math.prod(dataset.shape) * dataset.dtype.itemsize
    factor = _LARGEST_COMPRESSION if properties.get_nfilters() > 0 else 1
    if announced > factor * stored:
        raise ValueError(f"announces {announced} bytes, {stored} are stored")


def _stored(dataset: h5py.Dataset) -> tuple[int, int]:
    """Bytes in the file, and the first byte after them; 0 and 0 while nothing is stored."""
    if dataset.chunks is not None:
        chunks: list[tuple[int, int]] = []
        dataset.id.chunk_iter(lambda chunk: chunks.append((chunk.byte_offset, chunk.size)))
        ends = [int(offset) + int(length) for offset, length in chunks]
        return sum(int(length) for _, length in chunks), max(ends, default=0)
    stored, offset = int(dataset.id.get_storage_size()), dataset.id.get_offset()
    return stored, 0 if offset is None else int(offset) + stored


def _read_values(dataset: h5py.Dataset) -> None:
    if not dataset.shape:
        dataset[()]
        return
    rows = dataset.shape[0]
    row_bytes = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    together = max(1, _SLAB_BYTES // row_bytes)
    for begin in range(0, rows, together):
        dataset[begin : begin + together]


# ---- the process -------------------------------------------------------------------------------


def serve() -> None:
    """Reads file names, a JSON text per line, and answers each with a line: `{"error": null}`, or
    what is wrong and whether that is only that a writer has just begun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; meant for who asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _say({"ready": True})
    for line in sys.stdin:
        path = Path(json.loads(line))
        try:
            _limit_memory(path)
            walk(path)
            _say({"error": None})
        except Exception as error:
            reason = str(error) or type(error).__name__
            _say({"error": reason, "busy": isinstance(error, BlockingIOError)})


def _limit_memory(path: Path) -> None:
    """A damaged number of elements must not take the machine's memory."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        taken = int(stream.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = taken + _SPARE_MEMORY + 2 * path.stat().st_size
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)
