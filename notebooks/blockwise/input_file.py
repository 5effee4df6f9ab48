"""Reads files that somebody else wrote: regular ones only, with a bound on their size.

A name may lead to a pipe, a device or a file without end; reading those hangs or fills the memory.
Errors are OSError, whose `strerror` says what is wrong, and ValueError for what is no JSON.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

TEXT_LIMIT = 64 << 20


def require_regular(path: Path) -> int:
    """The size in bytes of a regular file. Raises OSError where it is none."""
    return _regular_size(path.stat(), path)


def read_bytes(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """The whole file. Raises OSError where it is no regular file or has more than `limit` bytes."""
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _regular_size(os.fstat(descriptor), path)
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"has more than {limit} bytes", str(path))
    return content


def _regular_size(status: os.stat_result, path: Path) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return status.st_size


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The same as text. Raises ValueError where it is not UTF-8."""
    return read_bytes(path, limit).decode("utf-8")


def parse_json(content: str | bytes) -> Any:
    """Raises ValueError for everything that is no JSON or is nested too deep to be read."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def read_json(path: Path, limit: int = TEXT_LIMIT) -> Any:
    """Raises OSError as read_bytes does, and ValueError as parse_json does."""
    return parse_json(read_bytes(path, limit))
