"""Text as it is decoded, token by token, against the library's own decoding of the whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from blockwise.tokens.text_session import Continuation, open_tokenizer

TEXT = ["the cat sat on the mat, naturally; naïve café \N{GRINNING FACE} and the dog sat too. " * 4]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=60, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=60, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def pieces_and_bytes() -> Tokenizer:
    """As Llama 2's: blanks are U+2581, what has no piece is spelt in bytes."""
    vocabulary = {"<unk>": 0} | {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
    for piece in ("\u2581", "\u2581the", "\u2581cat", "s", "a", "t"):
        vocabulary[piece] = len(vocabulary)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


KINDS = [byte_level, unigram, word_piece, word_level, pieces_and_bytes]


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_add_up_to_the_whole_text(kind) -> None:
    tokenizer = kind()
    draw = random.Random(1)
    for length in (0, 1, 7):
        prompt = [draw.randrange(tokenizer.get_vocab_size()) for _ in range(length)]
        # Tokens of real text, then any at all: broken characters, unknown numbers.
        tokens = tokenizer.encode(TEXT[0]).ids[:80]
        if kind is not pieces_and_bytes:  # whose decoder takes back what it wrote before bad bytes
            tokens += [draw.randrange(tokenizer.get_vocab_size() + 3) for _ in range(200)]
        continuation = Continuation(tokenizer, prompt)
        before = tokenizer.decode(prompt, skip_special_tokens=False)
        written = "".join(map(continuation.feed, tokens)) + continuation.finish()
        assert before + written == tokenizer.decode(prompt + tokens, skip_special_tokens=False)


def test_a_character_waits_for_all_its_bytes() -> None:
    tokenizer = pieces_and_bytes()
    continuation = Continuation(tokenizer, [])
    face = "\N{GRINNING FACE}".encode()
    written = [continuation.feed(byte + 1) for byte in b"\n" + face + b"!"]
    assert written == ["\n", "", "", "", "\N{GRINNING FACE}", "!"]


def test_a_session_ignores_what_pads_and_cuts(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer = word_level()
    expected = tokenizer.encode("the cat sat").ids
    tokenizer.enable_padding(length=32, pad_token="[UNK]")
    tokenizer.enable_truncation(max_length=2)
    tokenizer.save(str(path))
    assert open_tokenizer(str(path)).encode("the cat sat").ids == expected
    lines = ["the cat sat", expected[0], None]
    session = subprocess.run(
        [sys.executable, "-m", "blockwise.tokens.text_session", path],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in session.stdout.splitlines()] == [expected, " the", ""]


def test_what_is_no_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    nested = '{"type": "Sequence", "decoders": [' * 20_000
    for text in ("{}", nested):
        path.write_text(text)
        session = subprocess.run(
            [sys.executable, "-m", "blockwise.tokens.text_session", path], capture_output=True, text=True
        )
        assert session.returncode == 2
        assert "Traceback" not in session.stderr
        assert str(path) in session.stderr
