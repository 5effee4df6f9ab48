"""Text files as documents, in pieces of bounded length."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..files.input_file import open_input
from .errors import InputError

DocumentKind = Literal["file", "blank-line", "line", "jsonl"]
DOCUMENT_KINDS: tuple[DocumentKind, ...] = ("file", "blank-line", "line", "jsonl")
Split = Literal["train", "validation"]
_LONGEST_WORD = 1 << 20  # characters; longer ones are cut, so that memory is bounded
_LONGEST_LINE = 1 << 28  # bytes of a JSON record, which is held as a whole


class Piece(NamedTuple):
    """A part of a document."""

    text: str
    starts: bool = True  # with this piece the document starts
    ends: bool = True
    split: Split = "train"


@dataclass(frozen=True)
class TextReader:
    """Reads files as pieces of about `block_bytes`; holds about two of them.

    `documents` None means jsonl for the suffix .jsonl and file for others. `errors` is Python's
    name for what happens to bytes that are not UTF-8: strict, or surrogateescape, which carries
    them through. `on_read` gets the number of bytes of each read.
    """

    documents: DocumentKind | None = None
    text_field: str = "text"
    errors: str = "strict"
    block_bytes: int = 1 << 17
    on_read: Callable[[int], None] = lambda count: None

    def pieces(self, files: Sequence[Path], split: Split = "train") -> Iterator[Piece]:
        for file in files:
            for piece in self._file(file):
                yield piece._replace(split=split)

    def _file(self, path: Path) -> Iterator[Piece]:
        kind = document_kind(path, self.documents)
        if kind == "jsonl":
            return self._records(path)
        if kind == "file":
            return _whole(self._blocks(path))
        if kind == "line":
            return self._delimited(path, "\n", empty_end=False)
        # llm.c's sections: text that ends in a blank line has an empty last one.
        return self._delimited(path, "\n\n", empty_end=True)

    def _blocks(self, path: Path) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(self.errors)
        position = 0
        with open_input(path) as stream:
            while block := stream.read(self.block_bytes):
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(block)
                except UnicodeDecodeError as error:
                    at = position - pending + error.start
                    raise InputError(f"{path}: byte {at} is not UTF-8 ({error.reason})") from None
                position += len(block)
                self.on_read(len(block))
                if text:
                    yield text
        try:
            text = decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise InputError(f"{path}: ends in the middle of a UTF-8 character") from None
        if text:
            yield text

    def _delimited(self, path: Path, delimiter: str, empty_end: bool) -> Iterator[Piece]:
        """Documents that end with the delimiter, which belongs to them."""
        rest, starts = "", True
        for block in self._blocks(path):
            *documents, rest = (rest + block).split(delimiter)
            for text in documents:
                yield Piece(text + delimiter, starts)
                starts = True
            if len(rest) > self.block_bytes:
                # All that cannot be the beginning of a delimiter.
                end = len(rest) - len(delimiter) + 1
                yield Piece(rest[:end], starts, ends=False)
                rest, starts = rest[end:], False
        if rest or not starts or empty_end:
            yield Piece(rest, starts)

    def _records(self, path: Path) -> Iterator[Piece]:
        with open_input(path) as stream:
            lines = iter(lambda: stream.readline(_LONGEST_LINE + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > _LONGEST_LINE:
                    raise InputError(f"{path}:{number}: a line of more than {_LONGEST_LINE} bytes")
                self.on_read(len(line))
                if line.isspace():
                    continue
                text = _text_of(line, self.text_field, f"{path}:{number}")
                yield from _cut(text, self.block_bytes)


def document_kind(path: Path, documents: DocumentKind | None) -> DocumentKind:
    return documents or ("jsonl" if path.suffix == ".jsonl" else "file")


def _whole(blocks: Iterable[str]) -> Iterator[Piece]:
    held: str | None = None
    starts = True
    for block in blocks:
        if held is not None:
            yield Piece(held, starts, ends=False)
            starts = False
        held = block
    if held is not None:
        yield Piece(held, starts)


def _cut(text: str, length: int) -> Iterator[Piece]:
    for begin in range(0, max(len(text), 1), length):
        end = begin + length
        yield Piece(text[begin:end], begin == 0, end >= len(text))


def _text_of(line: bytes, field: str, place: str) -> str:
    try:
        record: Any = json.loads(line)
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: byte {error.start} of the line is not UTF-8") from None
    except ValueError as error:
        raise InputError(f"{place}: not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"{place}: a {type(record).__name__}, not an object")
    if field not in record:
        raise InputError(f"{place}: no field '{field}', only {sorted(record)}")
    text = record[field]
    if not isinstance(text, str):
        raise InputError(f"{place}: field '{field}' is a {type(text).__name__}, not text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{place}: half a surrogate pair at {error.start}") from None
    return text


def whole_words(pieces: Iterable[Piece]) -> Iterator[str]:
    """The text in parts that end before a blank or at the end of a document.

    A tokenizer that is trained on them sees no halves of words, so it does not depend on the length
    of the pieces.
    """
    rest = ""
    for piece in pieces:
        rest += piece.text
        whole = piece.ends or len(rest) > _LONGEST_WORD
        end = len(rest) if whole else _last_blank(rest)
        if end > 0:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _last_blank(text: str) -> int:
    """Where the last blank is that visible text follows and precedes, or 0."""
    end = len(text) - 1
    while (end := max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))) > 0:
        if not text[end + 1].isspace() and not text[end - 1].isspace():
            return end
    return 0


def cut_after(pieces: Iterable[Piece], characters: int) -> Iterator[Piece]:
    """The first `characters` are training text, the rest is validation text."""
    left = characters
    side: Split = "train"
    for piece in pieces:
        text = piece.text
        # A piece without text may still be the end of a training document.
        if left == 0 and (text or piece.starts):
            side = "validation"
        if side == "train" and len(text) > left:
            yield Piece(text[:left], piece.starts, ends=False, split="train")
            side = "validation"
            yield Piece(text[left:], starts=False, ends=piece.ends, split=side)
        else:
            yield piece._replace(split=side)
        left = max(0, left - len(text))
