from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockwise.bpe import BpeError, main, text_chunks, train_tokenizer
from tokenizers import Tokenizer

# Blank lines, indentation, Windows line ends, several scripts, no newline at the end.
MESSY = (
    "It was a truth,\n\n\n   universally  acknowledged;\r\n\r\nthat a single man\r\nin possession\n"
    "\tof a good fortune — “must” be in want of a wife.\n\n"
    "Ελληνικά και 日本語 🙂\u00a0\n \n\u2003end 1234 they're\n"
) * 40 + "the last line"


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("train.txt", "more.txt", "validation.txt")]
    paths[0].write_text(MESSY, newline="")
    paths[1].write_text("more of a good fortune, and\nof single men " * 50, newline="")
    paths[2].write_text("A wife — they’re in want of it 🙂\n\nfin" + MESSY[:999], newline="")
    return paths


def prepare(texts: list[Path], output: Path, vocab_size: int = 300) -> int:
    train, more, validation = map(str, texts)
    return main(
        ["--train", train, more, "--validation", validation, "--vocab-size", str(vocab_size),
         "--output", str(output)]
    )  # fmt: skip


def read_tokens(path: Path) -> np.ndarray:
    """Checks the header and returns the tokens."""
    content = path.read_bytes()
    header = np.frombuffer(content[:1024], dtype="<i4")
    tokens = np.frombuffer(content[1024:], dtype="<u2")
    assert list(header[:3]) == [20240520, 1, len(tokens)]
    assert not header[3:].any()
    return tokens


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


# ---- token files -------------------------------------------------------------------------------


def test_the_manifest_describes_the_files(texts: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "tokens"
    assert prepare(texts, output) == 0
    manifest = manifest_of(output)
    files = manifest.pop("files")
    assert manifest == {
        "format": "blockwise-tokens", "version": 1, "tokenizer": "bpe", "vocab_size": 300,
        "tokenizer_file": "tokenizer.json",
    }  # fmt: skip
    for name, sources in (("train", texts[:2]), ("validation", texts[2:])):
        content = (output / f"{name}.bin").read_bytes()
        assert files[name] == {
            "file": f"{name}.bin",
            "tokens": len(read_tokens(output / f"{name}.bin")),
            "bytes": sum(source.stat().st_size for source in sources),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    names = {"manifest.json", "tokenizer.json", "train.bin", "validation.bin"}
    assert {path.name for path in output.iterdir()} == names


def test_decoding_gives_the_text_back(texts: list[Path], tmp_path: Path) -> None:
    assert prepare(texts, tmp_path / "tokens") == 0
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokens" / "tokenizer.json"))
    train = read_tokens(tmp_path / "tokens" / "train.bin")
    assert tokenizer.decode(train.tolist()).encode() == b"".join(t.read_bytes() for t in texts[:2])
    validation = read_tokens(tmp_path / "tokens" / "validation.bin")
    assert tokenizer.decode(validation.tolist()).encode() == texts[2].read_bytes()
    assert max(train.max(), validation.max()) < 300


def test_every_byte_has_a_token(texts: list[Path]) -> None:
    tokenizer = train_tokenizer(texts[:1], 260)
    strange = "".join(map(chr, range(1, 0x800))) + "\U0010ffff"
    assert tokenizer.decode(tokenizer.encode(strange).ids) == strange


def test_only_the_training_text_shapes_the_tokenizer(texts: list[Path], tmp_path: Path) -> None:
    assert prepare(texts, tmp_path / "one") == 0
    texts[2].write_text("zyzzyva " * 1000)
    assert prepare(texts, tmp_path / "two") == 0
    one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_equal_input_makes_equal_files(texts: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert prepare(texts, tmp_path / name) == 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_small_text_gives_the_vocabulary_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("aaaa")
    path = str(tmp_path / "a.txt")
    arguments = ["--train", path, "--validation", path, "--vocab-size", "5000"]
    assert main([*arguments, "--output", str(tmp_path / "tokens")]) == 0
    size = manifest_of(tmp_path / "tokens")["vocab_size"]
    assert 256 < size < 262
    assert f"no more than {size} entries" in capsys.readouterr().err


# ---- chunks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 1000])
def test_tokens_do_not_depend_on_the_chunks(texts: list[Path], chunk_bytes: int) -> None:
    tokenizer = train_tokenizer(texts[:1], 400)
    chunks = list(text_chunks(texts[0], chunk_bytes))
    assert "".join(chunks) == MESSY
    ids = [token for chunk in chunks for token in tokenizer.encode(chunk).ids]
    assert ids == tokenizer.encode(MESSY).ids


def test_chunks_are_short(texts: list[Path]) -> None:
    assert max(map(len, text_chunks(texts[0], 64))) < 200


def test_text_that_is_not_utf8_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"good\n" * 300 + "é".encode() + b"\xff")
    for chunk_bytes in (3, 1501, 10_000):
        with pytest.raises(BpeError, match=r"bad\.txt: byte 1502 is not UTF-8"):
            list(text_chunks(path, chunk_bytes))


def test_half_a_character_at_the_end_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"x" + "é".encode()[:1])
    with pytest.raises(BpeError, match="middle of a UTF-8 character"):
        list(text_chunks(tmp_path / "bad.txt"))


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [256, 65536])
def test_vocabularies_out_of_bounds_exit_with_2(
    texts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], vocab_size: int
) -> None:
    assert prepare(texts, tmp_path / "tokens", vocab_size) == 2
    assert f"is {vocab_size}, allowed are 257 to 65535" in capsys.readouterr().err
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no such file"), (b"", "is empty")]
)
def test_missing_and_empty_files_exit_with_2(
    texts: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
) -> None:
    texts[2].unlink()
    if content is not None:
        texts[2].write_bytes(content)
    assert prepare(texts, tmp_path / "tokens") == 2
    assert f"{texts[2]}: {message}" in capsys.readouterr().err


def test_bad_text_leaves_the_old_files(texts: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "tokens"
    assert prepare(texts, output) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    texts[0].write_text("another text\n" * 100)
    texts[2].write_bytes(b"\xff")
    assert prepare(texts, output) == 2
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
