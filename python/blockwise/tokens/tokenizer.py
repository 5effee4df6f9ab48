"""Tokenizers: bytes, a trained BPE, GPT-2's BPE from its two files, any tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..files.input_file import read_input
from .errors import InputError

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
MIN_VOCAB_SIZE = 257  # the bytes and one merge
MAX_VOCAB_SIZE = 1 << 20
_LARGEST_FILE = 1 << 28  # bytes; the largest that are around have some 40 MB


class Encoded(Protocol):
    """The tokens of one text."""

    ids: npt.NDArray[Any]

    def text_bytes(self, begin: int, end: int) -> int:
        """Bytes of text under the tokens begin .. end - 1."""
        ...

    def token_at(self, character: int) -> int | None: ...

    def start_of(self, token: int) -> int:
        """The character that a token starts with; the text's length behind the last one."""
        ...


class Tokenizer(Protocol):
    name: str
    vocab_size: int
    end_of_text: int | None
    # Characters that two neighbouring windows of a text share, so that they can be joined where
    # their tokens agree; 0 where any two texts can be joined.
    overlap: int
    errors: str  # for TextReader

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]: ...

    def file_content(self) -> bytes | None:
        """Of the tokenizer.json beside the token files."""
        ...


# ---- bytes -------------------------------------------------------------------------------------


class _EncodedBytes:
    def __init__(self, text: str) -> None:
        self.ids = np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)

    def text_bytes(self, begin: int, end: int) -> int:
        return end - begin

    def token_at(self, character: int) -> int | None:
        raise NotImplementedError("windows of bytes do not overlap")

    def start_of(self, token: int) -> int:
        raise NotImplementedError("windows of bytes do not overlap")


class ByteTokenizer:
    """One token per byte; the end of a text is 256 where documents are separated."""

    name = "byte"
    overlap = 0
    errors = "surrogateescape"

    def __init__(self, separated: bool) -> None:
        self.vocab_size = 257 if separated else 256
        self.end_of_text = 256 if separated else None

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        return [_EncodedBytes(text) for text in texts]

    def file_content(self) -> bytes | None:
        return None


# ---- Hugging Face `tokenizers` -----------------------------------------------------------------


class _EncodedText:
    def __init__(self, text: str, encoding: tokenizers.Encoding) -> None:
        self.ids = np.array(encoding.ids, dtype=np.uint32)
        self._text = text
        self._encoding = encoding

    def text_bytes(self, begin: int, end: int) -> int:
        return len(self._text[self.start_of(begin) : self.start_of(end)].encode())

    def token_at(self, character: int) -> int | None:
        return self._encoding.char_to_token(character)

    def start_of(self, token: int) -> int:
        if token == 0:
            return 0
        if token >= len(self.ids):
            return len(self._text)
        begin, _ = cast(tuple[int, int], self._encoding.token_to_chars(token))  # every one has some
        return begin


class FileTokenizer:
    """A tokenizer of the package `tokenizers`, which encodes with all cores.

    Text is text: a special token's name in it is not that token, and nothing is put around it.
    """

    overlap = 1024
    errors = "strict"

    def __init__(
        self, name: str, tokenizer: tokenizers.Tokenizer, end_of_text: str, content: str | None
    ) -> None:
        self.name = name
        self._content = tokenizer.to_str(pretty=True) if content is None else content
        tokenizer.encode_special_tokens = True
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.post_processor = None
        self._tokenizer = tokenizer
        # Not the number of entries: numbers may have gaps.
        self.vocab_size = max(tokenizer.get_vocab().values(), default=-1) + 1
        self.end_of_text = tokenizer.token_to_id(end_of_text)

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [_EncodedText(text, code) for text, code in zip(texts, encodings, strict=True)]

    def file_content(self) -> bytes | None:
        return self._content.encode()


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "the Python package `tokenizers` is missing: pip install tokenizers"
        ) from None
    return tokenizers


def _byte_level(model: Any) -> Any:
    package = _package()
    tokenizer = package.Tokenizer(model)
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = package.decoders.ByteLevel()
    return tokenizer


def train_bpe(texts: Iterable[str], vocab_size: int, end_of_text: str | None) -> FileTokenizer:
    """A byte-level BPE of at most `vocab_size` entries: 256 bytes, merges, the end of a text."""
    package = _package()
    tokenizer = _byte_level(package.models.BPE())
    trainer = package.trainers.BpeTrainer(
        vocab_size=vocab_size - (end_of_text is not None),
        initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if end_of_text is not None:
        tokenizer.add_special_tokens([end_of_text])
    return FileTokenizer("bpe", tokenizer, end_of_text or END_OF_TEXT, None)


def gpt2_tokenizer(vocabulary: Path, merges: Path, end_of_text: str) -> FileTokenizer:
    """GPT-2's byte-level BPE from its vocabulary (JSON) and its list of merges."""
    package = _package()
    for path in (vocabulary, merges):
        _read(path)  # the package opens it by itself, and would wait at a pipe
    try:
        model = package.models.BPE.from_file(str(vocabulary), str(merges))
    except Exception as error:  # the package raises nothing narrower
        raise InputError(f"{vocabulary}, {merges}: not the files of a BPE: {error}") from None
    missing = sorted(
        set(package.pre_tokenizers.ByteLevel.alphabet()) - set(_byte_level(model).get_vocab())
    )
    if missing:
        raise InputError(
            f"{vocabulary}: {len(missing)} of the 256 bytes have no entry, for example "
            f"'{missing[0]}'"
        )
    tokenizer = _byte_level(model)
    if tokenizer.token_to_id(end_of_text) is not None:
        tokenizer.add_special_tokens([end_of_text])
    return FileTokenizer("gpt2", tokenizer, end_of_text, None)


def _read(path: Path) -> bytes:
    try:
        return read_input(path, _LARGEST_FILE)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def load_tokenizer(path: Path, end_of_text: str) -> FileTokenizer:
    """The tokenizer of a tokenizer.json."""
    package = _package()
    data = _read(path)
    try:
        content = data.decode("utf-8")
        tokenizer = package.Tokenizer.from_str(content)
    except Exception as error:  # the package raises nothing narrower
        raise InputError(f"{path}: not a tokenizer.json: {error}") from None
    return FileTokenizer("tokenizer.json", tokenizer, end_of_text, content)
