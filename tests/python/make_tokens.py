"""Texts, tokenizers and readers for the tests of blockwise.tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel

from blockwise.tokens.__main__ import main

# Blank lines, indentation, Windows line ends, several scripts, no newline at the end.
MESSY = (
    "It was a truth,\n\n\n   universally  acknowledged;\r\n\r\nthat a single man\r\nin possession\n"
    "\tof a good fortune — “must” be in want of a wife.\n\n"
    "Ελληνικά και 日本語 🙂\u00a0\n \n\u2003end 1234 they're\n"
) * 40 + "the last line"

END = "<|endoftext|>"


def run(*arguments: object) -> int:
    """`blockwise data`, inside this process."""
    return main([str(argument) for argument in arguments])


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def tokens_of(path: Path) -> np.ndarray:
    """Checks the header and returns the tokens."""
    content = path.read_bytes()
    header = np.frombuffer(content[:1024], dtype="<i4")
    assert not header[3:].any()
    wide = header[0] == 20240801
    tokens = np.frombuffer(content[1024:], dtype="<u4" if wide else "<u2")
    assert list(header[:3]) == [*((20240801, 7) if wide else (20240520, 1)), len(tokens)]
    return tokens


def split_of(folder: Path, split: str) -> np.ndarray:
    """All tokens of a split, shard after shard."""
    shards = manifest_of(folder)["files"][split]["shards"]
    return np.concatenate([tokens_of(folder / shard["file"]) for shard in shards])


def write_gpt2_files(folder: Path, end: bool = True) -> list[object]:
    """A GPT-2 style vocabulary: 256 bytes, five merges, the end of a text. As options."""
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w"]
    entries = [*sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {entry: number for number, entry in enumerate(entries + [END] * end)}
    (folder / "encoder.json").write_text(json.dumps(vocabulary))
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]))
    return ["--tokenizer", "gpt2", "--vocabulary", folder / "encoder.json",
            "--merges", folder / "vocab.bpe"]  # fmt: skip


def trained_tokenizer(pre_tokenizer: Any, decoder: Any = None, normalizer: Any = None) -> Tokenizer:
    """A BPE of 500 entries, trained on MESSY."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.normalizer = normalizer or normalizers.Sequence([])
    if decoder is not None:
        tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<unk>", END],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([MESSY], trainer)
    return tokenizer


# Llama 3's rule takes a newline together with the punctuation before it, and blank lines as one.
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gpt2_style() -> Tokenizer:
    return trained_tokenizer(ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def llama3_style() -> Tokenizer:
    from tokenizers import Regex

    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated")
    levels = pre_tokenizers.Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    return trained_tokenizer(levels, decoders.ByteLevel())


def sentencepiece_style() -> Tokenizer:
    """A mark instead of blanks, put before the text too, and Unicode's NFKC form."""
    return trained_tokenizer(
        pre_tokenizers.Metaspace(), decoders.Metaspace(), normalizers.NFKC()
    )
