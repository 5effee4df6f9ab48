"""Pieces of text to tokens: many at once, in bounded memory, with the tokens of the whole text.

A long document is cut into windows that overlap. A token depends on the text around it, but not on
text far away, so in the overlap the tokens of both windows soon are the same ones at the same
characters; there they are joined. Where they never are, the two windows are encoded as one. So the
tokens do not depend on the length of the windows, whatever the tokenizer's rules are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .text import Piece, Split
from .tokenizer import Encoded, Tokenizer

Separator = Literal["none", "before", "after"]
SEPARATORS: tuple[Separator, ...] = ("none", "before", "after")
_EQUAL_TOKENS = 8  # on each side of a joint
_BATCH_CHARACTERS = 1 << 18  # per core
_BATCH_WINDOWS = 1 << 12


@dataclass(slots=True)
class TokenRun:
    """Consecutive tokens of one split."""

    split: Split
    encoded: Encoded
    begin: int
    end: int

    @property
    def ids(self) -> npt.NDArray[Any]:
        return self.encoded.ids[self.begin : self.end]

    @property
    def text_bytes(self) -> int:
        return self.encoded.text_bytes(self.begin, self.end)

    def __len__(self) -> int:
        return self.end - self.begin


class _Separation:
    """The end-of-text token, which stands for no text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.end_of_text is not None
        self.ids = np.array([tokenizer.end_of_text], dtype=np.uint32)

    def text_bytes(self, begin: int, end: int) -> int:
        return 0

    def token_at(self, character: int) -> int | None:
        return None

    def start_of(self, token: int) -> int:
        return 0


# ---- windows -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Window:
    text: str
    joins: bool  # to the window before, with which it shares the first `overlap` characters
    overlap: int
    starts: bool
    ends: bool
    split: Split


def _windows(pieces: Iterable[Piece], overlap: int) -> Iterator[_Window]:
    before: _Window | None = None
    for piece in pieces:
        joins = before is not None and not piece.starts and piece.split == before.split
        tail = before.text[-overlap:] if before is not None and joins and overlap > 0 else ""
        before = _Window(
            tail + piece.text, joins, len(tail), piece.starts, piece.ends, piece.split
        )
        yield before


def _batches(windows: Iterable[_Window], characters: int) -> Iterator[list[_Window]]:
    batch: list[_Window] = []
    size = 0
    for window in windows:
        batch.append(window)
        size += len(window.text)
        if size >= characters or len(batch) >= _BATCH_WINDOWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(
    batches: Iterable[list[_Window]], tokenizer: Tokenizer
) -> Iterator[tuple[_Window, Encoded]]:
    """Encodes the next batch while the caller is busy with this one."""

    def work(batch: list[_Window]) -> Sequence[Encoded]:
        return tokenizer.encode([window.text for window in batch])

    with ThreadPoolExecutor(1) as worker:
        before: list[_Window] = []
        result = worker.submit(work, before)
        for batch in batches:
            coming = worker.submit(work, batch)
            yield from zip(before, result.result(), strict=True)
            before, result = batch, coming
        yield from zip(before, result.result(), strict=True)


# ---- joining -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Held:
    """A window whose tokens from `begin` on are not handed out yet."""

    window: _Window
    encoded: Encoded
    begin: int = 0

    def run(self, end: int) -> TokenRun:
        return TokenRun(self.window.split, self.encoded, self.begin, end)

    def rest(self) -> TokenRun:
        return self.run(len(self.encoded.ids))


def _joint(left: _Held, right: _Window, right_encoded: Encoded) -> tuple[int, int] | None:
    """The first tokens behind a joint in both windows, or None."""
    if right.overlap == 0:
        return len(left.encoded.ids), 0
    shift = len(left.window.text) - right.overlap
    for character in range(right.overlap // 2, right.overlap):
        i = left.encoded.token_at(shift + character)
        j = right_encoded.token_at(character)
        if i is None or j is None or i < left.begin or j < _EQUAL_TOKENS:
            continue
        if left.encoded.start_of(i) != shift + right_encoded.start_of(j):
            continue
        around = slice(i - _EQUAL_TOKENS, i + _EQUAL_TOKENS)
        ours = left.encoded.ids[max(0, around.start) : around.stop]
        theirs = right_encoded.ids[j - _EQUAL_TOKENS : j + _EQUAL_TOKENS]
        if len(ours) == 2 * _EQUAL_TOKENS and np.array_equal(ours, theirs):
            return i, j
    return None


def _merge(left: _Held, right: _Window, tokenizer: Tokenizer) -> _Held:
    """Both windows encoded as one."""
    text = left.window.text + right.text[right.overlap :]
    encoded = tokenizer.encode([text])[0]
    begin = 0
    if left.begin > 0:
        begin = encoded.token_at(left.encoded.start_of(left.begin)) or 0
    return _Held(replace(left.window, text=text, ends=right.ends), encoded, begin)


def _joined(
    encoded: Iterable[tuple[_Window, Encoded]], tokenizer: Tokenizer
) -> Iterator[tuple[TokenRun, _Window, bool]]:
    """Runs with the window that they are from, and whether they are the last of it."""
    held: _Held | None = None
    for window, code in encoded:
        if held is None or not window.joins:
            if held is not None:
                yield held.rest(), held.window, True
            held = _Held(window, code)
            continue
        joint = _joint(held, window, code)
        if joint is None:
            held = _merge(held, window, tokenizer)
            continue
        yield held.run(joint[0]), held.window, False
        held = _Held(window, code, joint[1])
    if held is not None:
        yield held.rest(), held.window, True


def encode(
    pieces: Iterable[Piece],
    tokenizer: Tokenizer,
    separator: Separator = "none",
    batch_characters: int | None = None,
) -> Iterator[TokenRun]:
    """The tokens of the pieces, with an end-of-text token before or after each document."""
    batch_characters = batch_characters or _BATCH_CHARACTERS * (cpu_count() or 1)
    batches = _batches(_windows(pieces, tokenizer.overlap), batch_characters)
    joined = _joined(_encoded(batches, tokenizer), tokenizer)
    if separator == "none":
        yield from (run for run, _, _ in joined)
        return
    mark = _Separation(tokenizer)
    for run, window, last in joined:
        if separator == "before" and window.starts:
            yield TokenRun(run.split, mark, 0, 1)
        yield run
        if separator == "after" and last and window.ends:
            yield TokenRun(run.split, mark, 0, 1)


def first_to_validation(runs: Iterable[TokenRun], tokens: int) -> Iterator[TokenRun]:
    """The first `tokens` are validation, the rest is training."""
    left = tokens
    for run in runs:
        end = run.begin + min(left, len(run))
        left -= end - run.begin
        if end > run.begin:
            yield TokenRun("validation", run.encoded, run.begin, end)
        if end < run.end:
            yield TokenRun("train", run.encoded, end, run.end)
