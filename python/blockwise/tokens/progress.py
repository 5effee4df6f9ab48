"""Progress of long work: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from shutil import get_terminal_size
from time import monotonic

_BAR = 24
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.0


def say(text: str, end: str = "\n") -> None:
    """On standard error. Nobody may be reading there, or its disk is full: that stops no work."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        _give_up_standard_error()


def _give_up_standard_error() -> None:
    """The rest is lost: what is not written when Python ends would make its exit code 120."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stderr.fileno())
        os.close(nothing)


def duration_text(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def _columns() -> int:
    """Of the terminal behind standard error; COLUMNS can only say fewer."""
    named = get_terminal_size().columns
    try:
        return min(named, os.get_terminal_size(sys.stderr.fileno()).columns or named)
    except (OSError, ValueError):
        return named


def _draws_unicode() -> bool:
    """As the program decides: the locale is UTF-8 and the terminal is not dumb."""
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next(filter(None, (os.environ.get(name) for name in names)), "")
    return os.environ.get("TERM") != "dumb" and "utf8" in locale.lower().replace("-", "")


class Progress:
    """Counts bytes of text; shows share, rate and time left."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = max(1, total)
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._start = monotonic()
        self._shown = self._start if not self._terminal else 0.0

    def advance(self, count: int) -> None:
        self._done += count
        now = monotonic()
        if now - self._shown >= (_TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS):
            self._shown = now
            self._show(now)

    def finish(self) -> None:
        """Takes the bar away; what was done is worth a line of its own."""
        if self._terminal:
            say("\r\033[K", end="")

    def seconds(self) -> float:
        return monotonic() - self._start

    def _show(self, now: float) -> None:
        elapsed = max(now - self._start, 1e-9)
        share = min(1.0, self._done / self._total)
        left = duration_text(elapsed / self._done * (self._total - self._done))
        # The most wanted first: what does not fit goes from the end.
        parts = (
            f"{left} left",
            f"{self._title}: {self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB",
            f"{self._done / elapsed / 1e6:.1f} MB/s",
        )
        if not self._terminal:
            say(", ".join(parts))
            return
        full, empty = "█░" if _draws_unicode() else "#."
        filled = int(share * _BAR)
        line = f"{full * filled}{empty * (_BAR - filled)} {share:4.0%}"
        for separator, part in zip((" ", ", ", ", "), parts, strict=True):
            if len(line) + len(separator) + len(part) >= _columns():
                break
            line += separator + part
        dumb = os.environ.get("TERM") == "dumb"
        erase = "\r" + " " * (_columns() - 1) + "\r" if dumb else "\r\033[K"
        say(erase + line, end="")
