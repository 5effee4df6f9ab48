"""Ctrl-C and a polite kill, at a moment when files can be taken away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A signal asked the program to end."""


@contextmanager
def stop_at_checks() -> Iterator[Callable[[], None]]:
    """Within the block a signal makes the next call of the yielded check raise Stopped.

    Not KeyboardInterrupt, which may fall between the steps of a lock of the thread pool and leave it
    locked for ever. A second signal ends the program at once.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    def check() -> None:
        if received:
            raise Stopped(signal.Signals(received[0]).name)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
