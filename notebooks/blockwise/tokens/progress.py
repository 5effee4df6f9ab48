"""Progress of long work: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import sys
from contextlib import suppress
from shutil import get_terminal_size
from time import monotonic

_BAR = 24
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.0


def say(text: str, end: str = "\n") -> None:
    """On standard error. Nobody may be reading there, or its disk is full: that stops no work."""
    with suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def duration_text(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


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
        text = (
            f"{self._title}: {self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB, "
            f"{self._done / elapsed / 1e6:.1f} MB/s, {left} left"
        )
        if not self._terminal:
            say(text)
            return
        filled = int(share * _BAR)
        bar = "█" * filled + "░" * (_BAR - filled)
        room = max(0, get_terminal_size().columns - _BAR - 7)
        say(f"\r\033[K{bar} {share:4.0%} {text[:room]}", end="")
