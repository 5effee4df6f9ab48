"""Tokens of long texts: those of the whole text, whatever the windows are."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from make_tokens import END, MESSY, gpt2_style, llama3_style, sentencepiece_style
from tokenizers import Tokenizer

from blockwise.tokens.encode import Separator, TokenRun, encode, first_to_validation
from blockwise.tokens.text import Piece
from blockwise.tokens.tokenizer import ByteTokenizer, FileTokenizer

STYLES = [gpt2_style, llama3_style, sentencepiece_style]
LONG = MESSY * 6


def pieces_of(text: str, length: int) -> list[Piece]:
    starts = range(0, len(text), length)
    return [Piece(text[i : i + length], i == 0, i + length >= len(text)) for i in starts]


def tokens(runs: list[TokenRun]) -> list[int]:
    return [int(token) for run in runs for token in run.ids]


def wrapped(tokenizer: Tokenizer, overlap: int = 1024) -> FileTokenizer:
    result = FileTokenizer("test", Tokenizer.from_str(tokenizer.to_str()), END, None)
    result.overlap = overlap
    return result


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("length", [100, 900, 2000, 7000])
def test_tokens_do_not_depend_on_the_windows(style: Callable[[], Tokenizer], length: int) -> None:
    tokenizer = style()
    whole = tokenizer.encode(LONG, add_special_tokens=False).ids
    runs = list(encode(pieces_of(LONG, length), wrapped(tokenizer), batch_characters=5000))
    assert tokens(runs) == whole
    # The pieces lie in the text one behind the other.
    assert sum(run.text_bytes for run in runs) == len(LONG.encode())


@pytest.mark.parametrize("overlap", [150, 400])
def test_random_texts_and_windows(overlap: int) -> None:
    source = random.Random(overlap)
    alphabet = ["a", "the", " ", "  ", "\n", ".", "é", "🙂", "12", "\n\n", "ing", "'s", " \t"]
    tokenizers = [(style(), wrapped(style(), overlap)) for style in STYLES]
    for _ in range(15):
        text = "".join(source.choices(alphabet, k=3000))
        for plain, ours in tokenizers:
            runs = list(encode(pieces_of(text, source.randint(60, 1500)), ours))
            assert tokens(runs) == plain.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    "text",
    [" " * 9001, "a" * 9001, "\n" * 9001, "xyz" * 3001, "x" * 77 + " " * 9000 + "y"],
)
@pytest.mark.parametrize("length", [1000, 1024, 3333])
def test_text_without_an_end_of_word(text: str, length: int) -> None:
    tokenizer = gpt2_style()
    runs = list(encode(pieces_of(text, length), wrapped(tokenizer)))
    assert tokens(runs) == tokenizer.encode(text).ids


def test_documents_are_encoded_apart() -> None:
    tokenizer = gpt2_style()
    pieces = [Piece("good for"), Piece("tune")]
    apart = [token for piece in pieces for token in tokenizer.encode(piece.text).ids]
    assert tokens(list(encode(pieces, wrapped(tokenizer)))) == apart
    assert apart != tokenizer.encode("good fortune").ids


@pytest.mark.parametrize(
    ("separator", "expected"),
    [
        ("none", b"abcdefg"),
        ("before", b"|abcde||fg"),
        ("after", b"abcde||fg|"),
    ],
)
def test_separators(separator: Separator, expected: bytes) -> None:
    pieces = [Piece("ab", ends=False), Piece("cd", False, ends=False), Piece("e", starts=False),
              Piece(""), Piece("fg")]  # fmt: skip
    marked = [256 if byte == ord("|") else byte for byte in expected]
    assert tokens(list(encode(pieces, ByteTokenizer(True), separator))) == marked


def test_a_cut_document_has_one_separator() -> None:
    pieces = [Piece("ab", ends=False), Piece("cd", False, split="validation")]
    for separator, train, validation in (
        ("before", [256, 97, 98], [99, 100]),
        ("after", [97, 98], [99, 100, 256]),
    ):
        runs = list(encode(pieces, ByteTokenizer(True), separator))  # type: ignore[arg-type]
        assert tokens([run for run in runs if run.split == "train"]) == train
        assert tokens([run for run in runs if run.split == "validation"]) == validation


def test_the_name_of_a_special_token_in_a_text_is_text() -> None:
    tokenizer = gpt2_style()
    special = tokenizer.token_to_id(END)
    assert tokenizer.encode(END).ids == [special]
    ids = tokens(list(encode([Piece(f"a {END} b")], wrapped(tokenizer), "before")))
    assert ids[0] == special
    assert special not in ids[1:]
    assert tokenizer.decode(ids[1:]) == f"a {END} b"


def test_truncation_padding_and_templates_are_not_applied() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = gpt2_style()
    plain = tokenizer.encode(MESSY).ids
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=100)
    tokenizer.post_processor = TemplateProcessing(f"{END} $A", special_tokens=[(END, 1)])
    assert tokens(list(encode([Piece(MESSY)], wrapped(tokenizer)))) == plain


@pytest.mark.parametrize("count", [0, 1, 2, 100, 333, 5000, 10**9])
def test_the_first_tokens_are_validation(count: int) -> None:
    tokenizer = wrapped(gpt2_style())
    everything = list(encode(pieces_of(LONG, 900), tokenizer, "before"))
    whole = tokens(everything)
    runs = list(first_to_validation(everything, count))
    sides = {s: [r for r in runs if r.split == s] for s in ("train", "validation")}
    assert tokens(sides["validation"]) == whole[:count]
    assert tokens(sides["train"]) == whole[count:]
    sizes = {side: sum(run.text_bytes for run in part) for side, part in sides.items()}
    assert sum(sizes.values()) == len(LONG.encode())
    # The bytes of the validation text are those that its tokens decode to, up to a character that
    # two tokens share.
    decoded = gpt2_style().decode(whole[1:count]) if count > 0 else ""
    assert abs(sizes["validation"] - len(decoded.replace("\ufffd", "").encode())) <= 3


def test_bytes_that_are_not_text_go_through() -> None:
    text = b"\xff\x00a\xc3".decode("utf-8", "surrogateescape")
    runs = list(encode([Piece(text)], ByteTokenizer(False)))
    assert np.concatenate([run.ids for run in runs]).tobytes() == b"\xff\x00a\xc3"
    assert sum(run.text_bytes for run in runs) == 4
