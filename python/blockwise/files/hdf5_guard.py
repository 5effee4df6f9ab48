"""Asks a process of its own whether an HDF5 file can be read: it may die of it, we must not."""

from __future__ import annotations

import atexit
import errno
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from blockwise.files.hdf5_walk import serve; serve()"
)
_START_SECONDS = 60.0
_FILE_SECONDS = 10.0
_BYTES_PER_SECOND = 20_000_000


class GuardError(Exception):
    """The file cannot be read; the message is a reason without the file's name."""


class EndlessError(GuardError):
    """It takes longer than any whole file of this size does."""


class BusyError(GuardError):
    """A program has just begun to write the file."""


def check_hdf5(path: Path) -> None:
    """Raises GuardError where HDF5 cannot walk through the whole file, crashes, or does not end;
    OSError where the file is gone or the process cannot be started.

    Takes a few milliseconds; the first call, which starts the process, some tenths of a second.
    """
    _checker(os.getpid()).check(path)


@functools.cache
def _checker(process: int) -> _Checker:
    """One for every process: a fork must not talk into its parent's pipes."""
    checker = _Checker()
    atexit.register(checker.stop)
    return checker


class _Checker:
    """A process that is started when it is needed, and again where a file has killed it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, path: Path) -> None:
        seconds = _FILE_SECONDS + path.stat().st_size / _BYTES_PER_SECOND
        with self._lock:
            try:
                answer = self._ask(str(path.absolute()), seconds)
            except BaseException:  # an interrupt too: its answer would be taken for the next one
                self.stop()
                raise
        if answer["error"] is not None:
            raise (BusyError if answer["busy"] else GuardError)(str(answer["error"]))

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.communicate()

    def _ask(self, path: str, seconds: float) -> dict[str, object]:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(path).encode() + b"\n")
        process.stdin.flush()
        return _answer(process, seconds)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, json.dumps(_search_path())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            try:
                _answer(self._process, _START_SECONDS)
            except GuardError as error:
                raise OSError(errno.ECHILD, f"no process to read it with: {error}") from error
        return self._process


def _search_path() -> list[str]:
    """Where this process has its modules from, without the current folder."""
    own = str(Path(__file__).resolve().parents[2])
    return [own, *(entry for entry in sys.path if os.path.isabs(entry))]


def _answer(process: subprocess.Popen[bytes], seconds: float) -> dict[str, object]:
    """The next line. Raises GuardError where the process ends or takes longer."""
    assert process.stdout is not None
    end = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise EndlessError(f"reading it does not end within {seconds:.0f} s")
        part = os.read(process.stdout.fileno(), 1 << 16)
        if not part:
            raise GuardError(_death(process.wait()))
        line += part
    answer: dict[str, object] = json.loads(line)
    return answer


def _death(code: int) -> str:
    if code >= 0:
        return f"the process that read it ended with exit code {code}"
    return f"the HDF5 library crashes on it, {signal.Signals(-code).name}"
