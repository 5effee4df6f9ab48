"""What a notebook shows of a whole run or sweep: a screen, not all that it holds."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 80
"""Columns of a line."""
_MOST_LINES = 12


def screen(what: str, place: object, lines: Sequence[str]) -> str:
    """What it is and where, and the first lines under it, none wider than a screen.

    A long place shows its end, where paths differ.
    """
    head, path = f"{_cut(what, 60)}: ", str(place)
    room = WIDTH - len(head)
    shown = [head + (path if len(path) <= room else "..." + path[3 - room :])]
    shown += [_cut(f"  {line}", WIDTH) for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"  ... and {len(lines) - _MOST_LINES} more")
    return "\n".join(shown)


def _cut(line: str, width: int) -> str:
    line = " ".join(line.splitlines())
    return line if len(line) <= width else line[: width - 3] + "..."


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
