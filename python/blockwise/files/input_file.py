"""Opens what somebody else wrote, as core/io/input_file.hpp does: regular files of a bounded size.

A name may lead to a pipe, a device or a file without end; reading those waits or fills the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

TEXT_LIMIT = 64 << 20


def open_input(path: Path | str) -> BinaryIO:
    """A regular file, open for reading; never waits. Raises OSError with the reason."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, f"is {_kind(mode)}, not a regular file", str(path))


def read_input(path: Path | str, limit: int = TEXT_LIMIT) -> bytes:
    """The whole file. Raises OSError with the reason, also for more than `limit` bytes."""
    with open_input(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"{size} bytes, at most {limit} are accepted", str(path))
        return stream.read(limit)


def first_hole(stream: BinaryIO) -> int | None:
    """The byte at which a sparse file has its first hole. A text has none."""
    status = os.fstat(stream.fileno())
    if status.st_blocks * 512 >= status.st_size:
        return None
    try:
        hole = os.lseek(stream.fileno(), 0, os.SEEK_HOLE)
    except OSError:  # a file system that cannot say
        return None
    finally:
        stream.seek(0)
    return hole if hole < status.st_size else None


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device"
    return "something else"
