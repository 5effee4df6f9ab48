"""Reads character vectors out of an R package's lazy-load database, without R.

A database is two files. `NAME.rdx` is a compressed serialized list: under `variables`, for every
object its offset and length in `NAME.rdb`. A record there is the uncompressed size (4 bytes, big
endian), then zlib data, or a letter and data of another kind, and inside it R's serialization
("XDR", format versions 2 and 3; described in the manual "R Internals").
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class RDataError(Exception):
    """A database that is damaged or holds something else than expected."""


def read_character_vectors(index: Path) -> dict[str, list[str]]:
    """The objects of a database, by name: `index` is its `.rdx`, and the `.rdb` lies beside it.

    Raises RDataError unless every object is a character vector without missing values.
    """
    database = index.with_suffix(".rdb").read_bytes()
    try:
        variables = _variables(zlib.decompress(index.read_bytes(), _GZIP_OR_ZLIB))
        return {
            name: _character_vector(name, database[offset : offset + length])
            for name, (offset, length) in variables.items()
        }
    except (zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError) as error:
        raise RDataError(f"{index}: damaged: {error}") from error


_GZIP_OR_ZLIB = 47  # for zlib: look at the header


def _variables(serialized: bytes) -> dict[str, tuple[int, int]]:
    index = _unserialize(serialized)
    if not isinstance(index, _Vector) or "variables" not in index.names:
        raise RDataError("the index has no list of variables")
    variables = index.values[index.names.index("variables")]
    places = (place.values for place in variables.values)
    return {name: (place[0], place[1]) for name, place in zip(variables.names, places, strict=True)}


def _character_vector(name: str, record: bytes) -> list[str]:
    value = _unserialize(decompress_record(record))
    lines = value.values if isinstance(value, _Vector) else []
    if not lines or not all(isinstance(line, str) for line in lines):
        raise RDataError(f"'{name}' is not a character vector without missing values")
    return lines


def decompress_record(record: bytes) -> bytes:
    """The content of one record of an `.rdb` file."""
    (size,) = struct.unpack_from(">I", record)
    kind = record[4:5]
    if kind == b"0":
        content = record[5:]
    elif kind == b"2":
        content = bz2.decompress(record[5:])
    elif kind == b"Z":
        content = _lzma(record[5:])
    else:
        content = zlib.decompress(record[4:])
    if len(content) != size:
        raise RDataError(f"a record has {len(content)} bytes, its header says {size}")
    return content


def _lzma(data: bytes) -> bytes:
    # R writes the bare stream, without the container of an .xz file.
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(data)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6 | lzma.PRESET_EXTREME}]
    return lzma.decompress(data, lzma.FORMAT_RAW, filters=filters)


# ---- R's serialization -------------------------------------------------------------------------

_NIL, _REFERENCE = 254, 255
_SYMBOL, _PAIRLIST, _CHARACTERS, _LOGICAL, _INTEGER, _REAL, _STRINGS, _LIST = (
    1, 2, 9, 10, 13, 14, 16, 19,
)  # fmt: skip
_HAS_ATTRIBUTES, _HAS_TAG = 1 << 9, 1 << 10
_LATIN1 = 1 << 14  # a character string's flag


@dataclass
class _Vector:
    values: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        names = self.attributes.get("names")
        return names.values if isinstance(names, _Vector) else []


def _unserialize(data: bytes) -> Any:
    return _Reader(data).document()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._symbols: list[Any] = []

    def document(self) -> Any:
        if self._take(2) != b"X\n":
            raise RDataError("not in R's XDR serialization")
        version = self._integer()
        self._take(8)  # the versions of R that wrote it and that can read it
        if version == 3:
            self._take(self._integer())  # native encoding
        elif version != 2:
            raise RDataError(f"serialization version {version}, known are 2 and 3")
        return self._item()

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise RDataError("the serialized data end too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def _integer(self) -> int:
        return int(struct.unpack(">i", self._take(4))[0])

    def _numbers(self, code: str, size: int) -> list[Any]:
        count = self._integer()
        return list(struct.unpack(f">{count}{code}", self._take(count * size)))

    def _item(self) -> Any:
        flags = self._integer()
        kind = flags & 0xFF
        if kind == _NIL:
            return None
        if kind == _REFERENCE:
            return self._symbols[(flags >> 8 or self._integer()) - 1]
        if kind == _SYMBOL:
            self._symbols.append(self._item())
            return self._symbols[-1]
        if kind == _CHARACTERS:
            return self._characters(flags)
        if kind == _PAIRLIST:
            return self._pairlist(flags)
        vector = _Vector(self._values(kind))
        if flags & _HAS_ATTRIBUTES:
            vector.attributes = dict(self._item())
        return vector

    def _values(self, kind: int) -> list[Any]:
        if kind in (_LOGICAL, _INTEGER):
            return self._numbers("i", 4)
        if kind == _REAL:
            return self._numbers("d", 8)
        if kind in (_STRINGS, _LIST):
            return [self._item() for _ in range(self._integer())]
        raise RDataError(f"objects of type {kind} are not supported")

    def _characters(self, flags: int) -> str | None:
        size = self._integer()
        if size == -1:
            return None  # NA
        return self._take(size).decode("latin-1" if flags & _LATIN1 else "utf-8")

    def _pairlist(self, flags: int) -> list[tuple[Any, Any]]:
        pairs = []
        while flags & 0xFF == _PAIRLIST:
            if flags & _HAS_ATTRIBUTES:
                self._item()
            tag = self._item() if flags & _HAS_TAG else None
            pairs.append((tag, self._item()))
            flags = self._integer()
        return pairs
