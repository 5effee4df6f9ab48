"""Text is streamed: the memory does not grow with the corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from make_tokens import MESSY, gpt2_style, manifest_of

MB = 1 << 20
# A small program that starts the measured one: a peak starts with that of the parent.
WATCH = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
)


def peak_memory(output: Path, text: Path, *more: str) -> int:
    """Peak resident bytes of `python -m blockwise.tokens`."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, sys.executable, "-m", "blockwise.tokens", "--train", text,
         "--validation-fraction", "0.1", "--output", output, *more],
        env={**os.environ, "PYTHONPATH": str(root / "python")},
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return int(done.stdout)


def write_text(path: Path, size: int, text: str = MESSY) -> Path:
    block = (text * (MB // len(text) + 1)).encode()
    with path.open("wb") as stream:
        while stream.tell() < size:
            stream.write(block)
    return path


def test_a_corpus_larger_than_the_memory_is_prepared(tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", 150 * MB)
    assert peak_memory(tmp_path / "tokens", text) < 75 * MB  # half of the text, a quarter of tokens
    files = manifest_of(tmp_path / "tokens")["files"]
    assert files["train"]["bytes"] + files["validation"]["bytes"] == text.stat().st_size


def test_the_memory_of_a_bpe_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """Not even where the text is one endless line."""
    gpt2_style().save(str(tmp_path / "tokenizer.json"))
    more = ("--tokenizer", str(tmp_path / "tokenizer.json"), "--documents", "line")
    line = MESSY.replace("\n", " ").replace("\r", "")
    small = write_text(tmp_path / "small.txt", 2 * MB, line)
    large = write_text(tmp_path / "large.txt", 6 * MB, line)
    growth = peak_memory(tmp_path / "b", large, *more) - peak_memory(tmp_path / "a", small, *more)
    # 4 MB more are 2 million tokens, which the package would hold with some 100 bytes each: 200 MB.
    # The allocators of its threads alone have been seen to differ by 46 MB on a busy machine.
    assert growth < 100 * MB
