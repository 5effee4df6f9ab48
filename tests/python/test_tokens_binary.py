"""Files that are no text are noticed before anything is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blockwise.tokens.__main__ import main
from blockwise.tokens.binary_text import SAMPLE_BYTES, binary_reason

TEXT = "Ein Text mit Umlauten: äöü, und mit Zeichen wie 漢字 und 🙂.\n"


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"text, and then \x00 zero", "byte 15 is NUL"),
        (TEXT.encode("utf-16"), "byte 3 is NUL"),
        (b"good text\n" * 10 + bytes(range(128, 256)), "byte 100 is no UTF-8"),
    ],
)
def test_binary_files_are_refused_with_the_place_and_what_to_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tokenizer: str,
    content: bytes,
    place: str,
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    output = tmp_path / "out"
    words = ("--train", path, "--validation", path, "--tokenizer", tokenizer, "--output", output)
    assert run(*words) == 2
    message = capsys.readouterr().err
    assert f"{path}: {place}" in message
    assert "UTF-8 (iconv" in message and "data.format" in message and "--content binary" in message
    assert not output.exists()


def test_any_bytes_are_taken_where_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.bin"
    content = bytes(range(256)) * 20
    path.write_bytes(content)
    words = ("--train", path, "--validation", path, "--output", tmp_path / "out")
    assert run(*words, "--content", "binary") == 0
    tokens = np.fromfile(tmp_path / "out/train.bin", dtype="<u2")[512:]
    assert tokens.astype(np.uint8).tobytes() == content
    assert run(*words, "--content", "binary", "--tokenizer", "bpe") == 2
    assert "--content binary needs --tokenizer byte" in capsys.readouterr().err


def test_text_with_a_few_stray_bytes_is_text() -> None:
    assert binary_reason(TEXT.encode()) is None
    assert binary_reason(b"a" * 1000 + b"\xe9 caf\xe9") is None
    assert binary_reason(b"") is None
    # Cut anywhere within a character, the sample is still a text.
    for shift in range(4):
        padded = b"a" * shift + "🙂".encode() * (SAMPLE_BYTES // 4)
        assert binary_reason(padded[:SAMPLE_BYTES]) is None


def test_bare_files_of_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    assert run("--train", path, "--validation", path, "--format", "raw_uint32",
               "--output", tmp_path / "out") == 0  # fmt: skip
    tokens = np.fromfile(tmp_path / "out/train.bin", dtype="<u4")
    assert tokens.astype(np.uint8).tobytes() == TEXT.encode()
