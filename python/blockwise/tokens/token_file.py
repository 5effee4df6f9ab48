"""Token files: llm.c's with a header of 1024 bytes, or bare numbers: 16 bits (nanoGPT's) or 32.

llm.c's header is 256 little-endian 32-bit integers: 20240520, 1 and the number of tokens for tokens
of 16 bits; 20240801, 7 and the number for tokens of 32 bits; the rest is zero.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ..files.json_file import read_json
from .errors import InputError

TokenLayout = Literal["llmc", "raw_uint16", "raw_uint32"]
TOKEN_LAYOUTS: tuple[TokenLayout, ...] = ("llmc", "raw_uint16", "raw_uint32")
MAX_FILE_TOKENS = 2**31 - 1  # llm.c counts in 32 bits
_HEADER_INTEGERS = 256
_MAGIC_AND_VERSION = {2: (20240520, 1), 4: (20240801, 7)}
_STAGING = "partial"


def token_width(vocab_size: int, layout: TokenLayout) -> int:
    """Bytes per token."""
    if layout == "raw_uint32":
        return 4
    width = 2 if vocab_size <= 1 << 16 else 4
    if layout == "raw_uint16" and width != 2:
        raise InputError(
            f"the vocabulary has {vocab_size} entries, --format raw_uint16 holds tokens of at most "
            f"{1 << 16}: --format raw_uint32"
        )
    return width


@dataclass(frozen=True)
class TokenFile:
    """A written file."""

    name: str
    tokens: int
    sha256: str


class SplitWriter:
    """The files of one split: NAME.bin, or NAME_000000.bin and so on with `shard_tokens` each."""

    def __init__(
        self, folder: Path, name: str, layout: TokenLayout, width: int, shard_tokens: int | None
    ) -> None:
        self.files: list[TokenFile] = []
        self.tokens = 0
        self.text_bytes = 0
        self._folder = folder
        self._name = name
        self._layout = layout
        self._width = width
        self._shard_tokens = shard_tokens
        self._stream: BufferedRandom | None = None
        self._room = 0  # tokens that the open file still takes

    def write(self, ids: npt.NDArray[Any], text_bytes: int) -> None:
        self.text_bytes += text_bytes
        self.tokens += len(ids)
        while len(ids) > 0:
            if self._room == 0:
                self._next_file()
            assert self._stream is not None
            part, ids = ids[: self._room], ids[self._room :]
            self._stream.write(part.astype(f"<u{self._width}").tobytes())
            self._room -= len(part)

    def close(self) -> None:
        if self._stream is not None:
            self._finish_file(self._stream)
            self._stream = None

    def _next_file(self) -> None:
        if self._stream is not None and self._shard_tokens is None:
            raise InputError(
                f"{self._name}.bin: more than {MAX_FILE_TOKENS} tokens, which is all that a file "
                "can hold: --shard-tokens makes several"
            )
        self.close()
        number = "" if self._shard_tokens is None else f"_{len(self.files):06d}"
        path = self._folder / f"{self._name}{number}.bin"
        stream = cast(BufferedRandom, path.open("w+b", buffering=1 << 20))
        self._stream = stream
        stream.write(bytes(self._header_bytes()))
        self._room = self._capacity()

    def _capacity(self) -> int:
        return self._shard_tokens or MAX_FILE_TOKENS

    def _header_bytes(self) -> int:
        return 4 * _HEADER_INTEGERS if self._layout == "llmc" else 0

    def _finish_file(self, stream: BufferedRandom) -> None:
        count = self._capacity() - self._room
        if self._layout == "llmc":
            stream.seek(0)
            header = np.zeros(_HEADER_INTEGERS, dtype="<i4")
            header[:3] = *_MAGIC_AND_VERSION[self._width], count
            stream.write(header.tobytes())
        stream.flush()
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        stream.close()
        self.files.append(TokenFile(Path(stream.name).name, count, digest))


# ---- the folder --------------------------------------------------------------------------------


@contextmanager
def replaced_together(output: Path) -> Iterator[Path]:
    """Yields a folder to write to; its files replace the old ones of `output` at the end.

    When the block raises, `output` is as it was. Otherwise the old manifest goes first and the new
    one comes last: where there is a manifest, all of its files are there. Old files that the old
    manifest names and the new one does not are deleted.
    """
    created = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{output}: is not a folder") from None
    staging = output / _STAGING
    if staging.is_symlink():  # somebody's, and what it leads to is not ours to clear
        staging.unlink()
    staging.mkdir(exist_ok=True)
    lock = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _lock(lock, output)
        for old in staging.iterdir():  # of a program that was killed
            old.unlink()
        yield staging
        _publish(staging, output)
    finally:
        _clear(lock, staging)
        if created and not any(output.iterdir()):
            output.rmdir()


def _lock(descriptor: int, output: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(f"{output}: another process is preparing token files there") from None


def _clear(descriptor: int, staging: Path) -> None:
    try:
        os.fstat(descriptor)
    except OSError:  # the lock is another process's, and so are the files
        return
    shutil.rmtree(staging, ignore_errors=True)
    os.close(descriptor)


def _publish(staging: Path, output: Path) -> None:
    names = {path.name for path in staging.iterdir()}
    stale = _named_files(output / "manifest.json") - names
    (output / "manifest.json").unlink(missing_ok=True)
    for name in sorted(names - {"manifest.json"}):
        (staging / name).replace(output / name)
    for name in stale:
        (output / name).unlink(missing_ok=True)
    (staging / "manifest.json").replace(output / "manifest.json")
    folder = os.open(output, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _named_files(manifest: Path) -> set[str]:
    """The files that belong to an old manifest; names only, nothing outside of its folder."""
    try:
        content = read_json(manifest)
        shards = [shard for split in content["files"].values() for shard in split["shards"]]
        names = [shard["file"] for shard in shards] + [content.get("tokenizer_file")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in names if isinstance(name, str) and Path(name).name == name}
