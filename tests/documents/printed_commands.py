"""The commands that documents print: in blocks marked `sh` and `console`, in spans of code, and in
the heads of configurations."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD_COMMAND = re.compile(r"(?:^|: )((?:blockwise [a-z]|make [a-z]|for [a-z]+ in |\.venv/bin/python -m ).*)$")
_SPAN = re.compile(r"`((?:blockwise|make) [^`]+)`")


@dataclass(frozen=True)
class Command:
    """One command as it is printed, with its line ends, and where."""

    text: str
    place: str

    def words(self) -> list[str]:
        """Its words without comments; quotes are taken off."""
        return shlex.split(self.text.replace("\\\n", " "), comments=True)


def _is_whole(text: str) -> bool:
    if text.endswith("\\"):
        return False
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError:  # a quote is open
        return False
    return words.count("for") <= words.count("done")


def split_commands(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Command]:
    """Puts together what is continued on the next line, leaves out comments between commands."""
    text, first = "", 0
    for number, line in lines:
        if not text and (not line.strip() or line.lstrip().startswith("#")):
            continue
        text, first = (f"{text}\n{line}", first) if text else (line, number)
        if _is_whole(text):
            yield Command(text, f"{name}:{first}")
            text = ""
    assert not text, f"{name}:{first}: a command that does not end"


def _session(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Of a block with outputs: lines after '$ ' and what they are continued with."""
    continued = False
    for number, line in lines:
        if line.startswith("$ ") or continued:
            yield number, line.removeprefix("$ ")
            continued = line.endswith("\\")


def fenced_commands(path: Path, name: str) -> list[Command]:
    """Those of the blocks of a Markdown file, in their order."""
    found: list[Command] = []
    kind, block = "", list[tuple[int, str]]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            block.append((number, line))
            continue
        if kind in ("sh", "console"):
            found += split_commands(_session(block) if kind == "console" else block, name)
        kind, block = ("" if kind else line.removeprefix("```") or "text"), []
    return found


def yaml_blocks(path: Path, name: str) -> list[tuple[str, str]]:
    """Text and place of the blocks marked `yaml`."""
    text = path.read_text(encoding="utf-8")
    return [
        (match.group(1), f"{name}:{text.count(chr(10), 0, match.start()) + 1}")
        for match in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def spans(path: Path, name: str) -> list[Command]:
    """Those within sentences."""
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m.group().count("\n"),
                  path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)  # fmt: skip
    return [
        Command(match.group(1), f"{name}:{text.count(chr(10), 0, match.start()) + 1}")
        for match in _SPAN.finditer(text)
    ]


def head_commands(path: Path, name: str) -> list[Command]:
    """Those of the comment that a configuration begins with."""
    lines: list[tuple[int, str]] = []
    continued = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        match = _HEAD_COMMAND.search(text)
        if continued or match:
            lines.append((number, text if continued or match is None else match.group(1)))
            continued = text.endswith("\\")
    return list(split_commands(lines, name))
