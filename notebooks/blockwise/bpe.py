"""Trains a byte-level BPE tokenizer on text and writes token files.

    python -m blockwise.bpe --train data/austen/train.txt --validation data/austen/validation.txt \\
        --vocab-size 2048 --output data/austen-bpe2048

Writes tokenizer.json (Hugging Face `tokenizers`), train.bin and validation.bin (llm.c's format:
256 little-endian 32-bit integers, of which the first three are 20240520, 1 and the number of
tokens, then the tokens as 16-bit integers) and manifest.json. The tokenizer sees the training text
only. Decoding the tokens gives the text back, byte for byte.
"""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic_file import replaced_on_success, write_bytes_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_VOCAB_SIZE = 257  # the bytes and one merge
MAX_VOCAB_SIZE = 65535  # tokens are 16-bit integers
_CHUNK_BYTES = 1 << 20
_HEADER_INTEGERS = 256
_MAGIC, _VERSION = 20240520, 1


class BpeError(Exception):
    """Input that cannot be tokenized; the message names it."""


# ---- reading text ------------------------------------------------------------------------------


def text_chunks(path: Path, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[str]:
    """The text of a UTF-8 file in chunks that may be encoded on their own.

    A chunk ends right before a newline that a visible character follows. The tokenizer's pattern
    splits there in any case (it takes all but the last of several blanks together), so the tokens
    do not depend on the size of the chunks.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    position = 0
    with path.open("rb") as stream:
        while block := stream.read(chunk_bytes):
            try:
                rest += decoder.decode(block)
            except UnicodeDecodeError as error:
                at = position - _pending(decoder) + error.start
                raise BpeError(f"{path}: byte {at} is not UTF-8 ({error.reason})") from None
            position += len(block)
            end = _last_boundary(rest)
            if end > 0:
                yield rest[:end]
                rest = rest[end:]
    if _pending(decoder) > 0:
        raise BpeError(f"{path}: ends in the middle of a UTF-8 character")
    if rest:
        yield rest


def _pending(decoder: codecs.IncrementalDecoder) -> int:
    """Bytes of an unfinished character."""
    return len(decoder.getstate()[0])


def _last_boundary(text: str) -> int:
    """Where the last chunk boundary of `text` is, or 0."""
    end = text.rfind("\n", 0, len(text) - 1)
    while end > 0 and text[end + 1].isspace():
        end = text.rfind("\n", 0, end)
    return max(end, 0)


# ---- training ----------------------------------------------------------------------------------


def train_tokenizer(files: Sequence[Path], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` entries (256 bytes and merges, nothing special)."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise BpeError(
            "the Python package `tokenizers` is missing: pip install tokenizers"
        ) from None
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((chunk for file in files for chunk in text_chunks(file)), trainer)
    return tokenizer


# ---- token files -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenFile:
    """A written token file: number of tokens, bytes of text, SHA-256 of the file."""

    tokens: int
    text_bytes: int
    sha256: str


def write_token_file(
    stream: BufferedRandom,
    tokenizer: Tokenizer,
    files: Sequence[Path],
    progress: Callable[[int], None],
) -> TokenFile:
    """Encodes the files one after the other; `progress` gets the bytes of text done so far."""
    stream.write(bytes(4 * _HEADER_INTEGERS))
    tokens = text_bytes = 0
    for file in files:
        for chunk in text_chunks(file):
            ids = np.asarray(tokenizer.encode(chunk).ids, dtype="<u2")
            stream.write(ids.tobytes())
            tokens += len(ids)
            text_bytes += len(chunk.encode())
            progress(text_bytes)
    stream.seek(0)
    stream.write(_header(tokens))
    stream.flush()
    stream.seek(0)
    return TokenFile(tokens, text_bytes, hashlib.file_digest(stream, "sha256").hexdigest())


def _header(tokens: int) -> bytes:
    if tokens > np.iinfo(np.int32).max:
        raise BpeError(f"{tokens} tokens: a token file holds at most {np.iinfo(np.int32).max}")
    header = np.zeros(_HEADER_INTEGERS, dtype="<i4")
    header[:3] = _MAGIC, _VERSION, tokens
    return header.tobytes()


def prepare_tokens(
    train: Sequence[Path], validation: Sequence[Path], vocab_size: int, output: Path
) -> dict[str, Any]:
    """Trains the tokenizer, writes all files and returns the manifest.

    The old files of `output` stay until all new ones are there.
    """
    _check_input([*train, *validation], vocab_size)
    output.mkdir(parents=True, exist_ok=True)
    print(f"training a BPE of {vocab_size} entries", file=sys.stderr)
    tokenizer = train_tokenizer(train, vocab_size)
    parts = {"train": train, "validation": validation}
    with ExitStack() as stack:
        written = {
            name: _write_part(stack, tokenizer, name, files, output)
            for name, files in parts.items()
        }
        # From here the old manifest would describe other files.
        (output / "manifest.json").unlink(missing_ok=True)
    write_bytes_atomically(output / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
    manifest = _manifest(tokenizer.get_vocab_size(), written)
    write_bytes_atomically(
        output / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode()
    )
    if manifest["vocab_size"] < vocab_size:
        print(f"the text has no more than {manifest['vocab_size']} entries", file=sys.stderr)
    return manifest


def _check_input(files: Sequence[Path], vocab_size: int) -> None:
    if not MIN_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE:
        raise BpeError(
            f"the vocabulary size is {vocab_size}, allowed are {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE}"
        )
    for file in files:
        if not file.is_file():
            raise BpeError(f"{file}: there is no such file")
        if file.stat().st_size == 0:
            raise BpeError(f"{file}: is empty")


def _write_part(
    stack: ExitStack, tokenizer: Tokenizer, name: str, files: Sequence[Path], output: Path
) -> TokenFile:
    partial = stack.enter_context(replaced_on_success(output / f"{name}.bin"))
    progress = _Progress(name, sum(file.stat().st_size for file in files))
    with partial.open("w+b") as stream:
        result = write_token_file(stream, tokenizer, files, progress.update)
    progress.finish(result)
    return result


def _manifest(vocab_size: int, written: dict[str, TokenFile]) -> dict[str, Any]:
    return {
        "format": "blockwise-tokens",
        "version": 1,
        "tokenizer": "bpe",
        "vocab_size": vocab_size,
        "tokenizer_file": "tokenizer.json",
        "files": {
            name: {
                "file": f"{name}.bin",
                "tokens": part.tokens,
                "bytes": part.text_bytes,
                "sha256": part.sha256,
            }
            for name, part in written.items()
        },
    }


class _Progress:
    """One line on a terminal that counts; elsewhere only the last word."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._terminal = sys.stderr.isatty()

    def update(self, done: int) -> None:
        if self._terminal:
            print(f"\r{self._name}: {done / self._total:4.0%} encoded", end="", file=sys.stderr)

    def finish(self, part: TokenFile) -> None:
        start = "\r\033[K" if self._terminal else ""
        rate = part.text_bytes / max(part.tokens, 1)
        print(
            f"{start}{self._name}: {part.tokens:,} tokens, {rate:.2f} bytes each", file=sys.stderr
        )


# ---- command line ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 2 for bad input, 1 where writing failed."""
    parser = argparse.ArgumentParser(
        prog="python -m blockwise.bpe", description="Trains a byte-level BPE, writes token files."
    )
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="UTF-8 text files")
    parser.add_argument("--validation", type=Path, nargs="+", required=True, help="the same")
    parser.add_argument(
        "--vocab-size", type=int, required=True, help=f"{MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE}"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the token files")
    options = parser.parse_args(arguments)
    try:
        prepare_tokens(options.train, options.validation, options.vocab_size, options.output)
    except BpeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
