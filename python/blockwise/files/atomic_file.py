"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_on_success(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` to write to; renames it to `path` when the block ends well.

    When the block raises, the partial file is removed and what was under `path` stays. The suffix
    is kept (`figure.partial.png`), because some writers choose their format by it. What stands
    under that name is removed first, and a link that somebody put there is not followed.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes `content` under `path`, whole or not at all."""
    with replaced_on_success(path) as partial:
        partial.write_bytes(content)


def _sync(path: Path) -> None:
    # Without this, a power cut after the rename may leave an empty file under the final name.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
