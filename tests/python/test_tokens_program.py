"""`python -m blockwise.tokens`: files, manifest, bad input, and what stays when something fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from make_tokens import (
    END,
    MESSY,
    llama3_style,
    manifest_of,
    run,
    split_of,
    tokens_of,
    write_gpt2_files,
)
from tokenizers import Tokenizer

from blockwise.tokens import token_file


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("train.txt", "more.txt", "validation.txt")]
    paths[0].write_text(MESSY, newline="")
    paths[1].write_text("more of a good fortune, and\nof single men " * 50, newline="")
    paths[2].write_text("A wife — they’re in want of it 🙂\n\nfin" + MESSY[:999], newline="")
    return paths


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def prepare_all(texts: list[Path], output: Path, *more: object) -> int:
    train, extra, validation = texts
    return run("--train", train, extra, "--validation", validation, "--output", output, *more)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- files and manifest ------------------------------------------------------------------------


def test_bytes_are_tokens(texts: list[Path], output: Path) -> None:
    assert prepare_all(texts, output) == 0
    manifest = manifest_of(output)
    files = manifest.pop("files")
    assert manifest == {
        "format": "blockwise-tokens", "version": 1, "tokenizer": "byte", "vocab_size": 256,
        "end_of_text": None, "document_separator": "none", "layout": "llmc", "token_bytes": 2,
    }  # fmt: skip
    for name, sources in (("train", texts[:2]), ("validation", texts[2:])):
        content = (output / f"{name}.bin").read_bytes()
        text = b"".join(source.read_bytes() for source in sources)
        assert tokens_of(output / f"{name}.bin").astype(np.uint8).tobytes() == text
        digest = hashlib.sha256(content).hexdigest()
        assert files[name] == {
            "tokens": len(text),
            "bytes": len(text),
            "shards": [{"file": f"{name}.bin", "tokens": len(text), "sha256": digest}],
        }
    assert set(content_of(output)) == {"manifest.json", "train.bin", "validation.bin"}


def test_bytes_need_not_be_utf8(tmp_path: Path, output: Path) -> None:
    content = bytes(range(256)) * 3 + "é".encode()[:1]
    (tmp_path / "a.bin").write_bytes(content)
    assert run("--train", tmp_path / "a.bin", "--validation", tmp_path / "a.bin", "--content",
               "binary", "--output", output) == 0  # fmt: skip
    assert tokens_of(output / "train.bin").astype(np.uint8).tobytes() == content


@pytest.mark.parametrize("size", [300, None])
def test_decoding_a_trained_bpe_gives_the_text_back(
    texts: list[Path], output: Path, size: int | None
) -> None:
    more = [] if size is None else ["--vocab-size", size]
    assert prepare_all(texts, output, "--tokenizer", "bpe", *more) == 0
    manifest = manifest_of(output)
    assert manifest["tokenizer"] == "bpe"
    assert manifest["tokenizer_file"] == "tokenizer.json"
    assert 256 < manifest["vocab_size"] <= (size or 2048)
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == manifest["vocab_size"]
    for split, sources in (("train", texts[:2]), ("validation", texts[2:])):
        tokens = split_of(output, split)
        text = b"".join(source.read_bytes() for source in sources)
        assert tokenizer.decode(tokens.tolist(), skip_special_tokens=False).encode() == text
        assert tokens.max() < manifest["vocab_size"]
        assert manifest["files"][split]["bytes"] == len(text)


def test_every_byte_has_a_token(texts: list[Path], output: Path, tmp_path: Path) -> None:
    strange = "".join(map(chr, range(1, 0x800))) + "\U0010ffff"
    (tmp_path / "strange.txt").write_text(strange, newline="")
    assert run("--train", texts[0], "--validation", tmp_path / "strange.txt", "--output", output,
               "--tokenizer", "bpe", "--vocab-size", 260) == 0  # fmt: skip
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    assert tokenizer.decode(split_of(output, "validation").tolist()) == strange


def test_only_the_training_text_shapes_a_trained_bpe(texts: list[Path], tmp_path: Path) -> None:
    bpe = ("--tokenizer", "bpe", "--vocab-size", 300)
    assert prepare_all(texts, tmp_path / "one", *bpe) == 0
    texts[2].write_text("zyzzyva " * 1000)
    assert prepare_all(texts, tmp_path / "two", *bpe) == 0
    # The same for a fraction: the last tenth of this text is nothing but x.
    (tmp_path / "a.txt").write_text(MESSY[:4500] + "x" * 500)
    (tmp_path / "b.txt").write_text(MESSY[:4500] + "y z" * 166 + "yy")
    for name in ("a", "b"):
        assert run("--train", tmp_path / f"{name}.txt", "--validation-fraction", 0.1,
                   "--output", tmp_path / name, *bpe) == 0  # fmt: skip
    for a, b in (("one", "two"), ("a", "b")):
        one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in (a, b))
        assert one == two


def test_equal_input_makes_equal_files(texts: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert prepare_all(texts, tmp_path / name, "--tokenizer", "bpe", "--vocab-size", 300) == 0
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_a_small_text_gives_the_vocabulary_it_has(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("aaaa")
    assert run("--train", tmp_path / "a.txt", "--validation", tmp_path / "a.txt", "--tokenizer",
               "bpe", "--vocab-size", 5000, "--output", output) == 0  # fmt: skip
    size = manifest_of(output)["vocab_size"]
    assert 256 < size < 262
    assert f"no more than {size} entries" in capsys.readouterr().err


def test_gpt2_from_its_two_files(tmp_path: Path, output: Path) -> None:
    (tmp_path / "a.txt").write_text("hello world, hell\n")
    (tmp_path / "b.txt").write_text(f"{END}x")
    assert run("--train", tmp_path / "a.txt", "--validation", tmp_path / "b.txt", "--output",
               output, *write_gpt2_files(tmp_path)) == 0  # fmt: skip
    vocabulary = json.loads((tmp_path / "encoder.json").read_text())
    words = ["hello", "Ġw", "o", "r", "l", "d", ",", "Ġ", "hell", "Ċ"]
    assert split_of(output, "train").tolist() == [vocabulary[word] for word in words]
    # The token's name in a text is text.
    assert split_of(output, "validation").tolist() == [vocabulary[c] for c in f"{END}x"]
    manifest = manifest_of(output)
    assert (manifest["vocab_size"], manifest["end_of_text"]) == (262, 261)
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    assert tokenizer.encode("hello world").ids == split_of(output, "train")[:6].tolist()


def test_any_tokenizer_file(texts: list[Path], tmp_path: Path, output: Path) -> None:
    tokenizer = llama3_style()
    tokenizer.save(str(tmp_path / "mine.json"))
    assert prepare_all(texts, output, "--tokenizer", tmp_path / "mine.json") == 0
    expected = [tokenizer.encode(text.read_bytes().decode()).ids for text in texts]
    assert split_of(output, "train").tolist() == expected[0] + expected[1]
    assert split_of(output, "validation").tolist() == expected[2]
    assert (output / "tokenizer.json").read_bytes() == (tmp_path / "mine.json").read_bytes()
    assert manifest_of(output)["tokenizer"] == "tokenizer.json"


def test_json_lines_as_documents(tmp_path: Path, output: Path) -> None:
    lines = [json.dumps({"text": "x", "body": text}) for text in ("ab", "", "c\n")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert run("--train", tmp_path / "a.jsonl", "--validation", tmp_path / "a.jsonl", "--output",
               output, "--text-field", "body", "--document-separator", "after") == 0  # fmt: skip
    assert split_of(output, "train").tolist() == [97, 98, 256, 256, 99, 10, 256]
    manifest = manifest_of(output)
    assert manifest["files"]["train"]["bytes"] == 4
    assert (manifest["vocab_size"], manifest["end_of_text"]) == (257, 256)
    assert manifest["document_separator"] == "after"


def test_a_trained_bpe_has_an_end_of_text_where_documents_are_separated(
    texts: list[Path], output: Path
) -> None:
    assert prepare_all(texts, output, "--tokenizer", "bpe", "--vocab-size", 300, "--documents",
                       "line", "--document-separator", "before",
                       "--end-of-text", "<end>") == 0  # fmt: skip
    manifest = manifest_of(output)
    assert (manifest["vocab_size"], manifest["end_of_text"]) == (300, 299)
    tokens = split_of(output, "validation")
    lines = texts[2].read_bytes().count(b"\n") + 1
    assert (tokens == 299).sum() == lines


# ---- recipes -----------------------------------------------------------------------------------


def test_llmc_recipe(tmp_path: Path, output: Path) -> None:
    """As llm.c does it: sections at blank lines, a mark before each, the first tokens aside."""
    text = MESSY + "\n\n"
    (tmp_path / "a.txt").write_text(text, newline="")
    expected: list[int] = []
    sections = text.split("\n\n")
    for i, section in enumerate(sections):
        expected.append(256)
        expected += (section + "\n\n" if i < len(sections) - 1 else section).encode()
    assert run("--train", tmp_path / "a.txt", "--validation-tokens", 777, "--documents",
               "blank-line", "--document-separator", "before", "--output", output) == 0  # fmt: skip
    assert split_of(output, "validation").tolist() == expected[:777]
    assert split_of(output, "train").tolist() == expected[777:]
    files = manifest_of(output)["files"]
    assert files["train"]["bytes"] + files["validation"]["bytes"] == len(text.encode())
    assert files["validation"]["bytes"] == 777 - expected[:777].count(256)


@pytest.mark.parametrize("fraction", [0.1, 0.0005, 0.5])
def test_nanogpt_recipe(tmp_path: Path, output: Path, fraction: float) -> None:
    """As nanoGPT does it: int(0.9 n) of n characters, not bytes."""
    (tmp_path / "a.txt").write_text(MESSY, newline="")
    assert run("--train", tmp_path / "a.txt", "--validation-fraction", fraction, "--format",
               "raw_uint16", "--output", output) == 0  # fmt: skip
    cut = int(len(MESSY) * (1 - fraction))
    for split, text in (("train", MESSY[:cut]), ("validation", MESSY[cut:])):
        tokens = np.fromfile(output / f"{split}.bin", dtype="<u2")
        assert tokens.astype(np.uint8).tobytes() == text.encode()
        assert manifest_of(output)["files"][split]["bytes"] == len(text.encode())
    assert manifest_of(output)["layout"] == "raw_uint16"


# ---- shards and widths -------------------------------------------------------------------------


@pytest.mark.parametrize("shard_tokens", [1000, 1001, 10**6])
def test_shards_are_the_file_cut(texts: list[Path], tmp_path: Path, shard_tokens: int) -> None:
    assert prepare_all(texts, tmp_path / "one") == 0
    assert prepare_all(texts, tmp_path / "cut", "--shard-tokens", shard_tokens) == 0
    for split in ("train", "validation"):
        whole = tokens_of(tmp_path / "one" / f"{split}.bin")
        shards = manifest_of(tmp_path / "cut")["files"][split]["shards"]
        assert len(shards) == -(-len(whole) // shard_tokens)
        for number, shard in enumerate(shards):
            assert shard["file"] == f"{split}_{number:06d}.bin"
            path = tmp_path / "cut" / shard["file"]
            expected = whole[number * shard_tokens : (number + 1) * shard_tokens]
            assert np.array_equal(tokens_of(path), expected)
            assert shard["tokens"] == len(expected)
            assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_exact_number_of_shards_has_no_empty_one(tmp_path: Path, output: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefgh")
    assert run("--train", tmp_path / "a.txt", "--validation", tmp_path / "a.txt", "--output",
               output, "--shard-tokens", 4) == 0  # fmt: skip
    shards = manifest_of(output)["files"]["train"]["shards"]
    assert [shard["tokens"] for shard in shards] == [4, 4]


@pytest.mark.parametrize(("extra", "width"), [(0, 2), (1, 4)])
def test_wide_vocabularies_have_wide_tokens(
    texts: list[Path], tmp_path: Path, output: Path, extra: int, width: int
) -> None:
    tokenizer = llama3_style()
    fill = (1 << 16) - tokenizer.get_vocab_size() + extra
    tokenizer.add_tokens([f"\u0f00{number}" for number in range(fill)])
    tokenizer.save(str(tmp_path / "wide.json"))
    last = f"\u0f00{fill - 1}"
    texts[0].write_text(f"one {last} two")
    assert prepare_all(texts, output, "--tokenizer", tmp_path / "wide.json") == 0
    assert manifest_of(output)["vocab_size"] == (1 << 16) + extra
    assert manifest_of(output)["token_bytes"] == width
    tokens = split_of(output, "train")
    assert tokens.dtype.itemsize == width
    assert tokens.max() == (1 << 16) + extra - 1


def test_a_full_file_asks_for_shards(
    texts: list[Path],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(token_file, "MAX_FILE_TOKENS", 1000)
    assert prepare_all(texts, output) == 2
    assert "train.bin: more than 1000 tokens" in capsys.readouterr().err


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tokenizer", "bpe", "--vocab-size", 256], "is 256, allowed are 257 to 1048576"),
        (["--tokenizer", "bpe", "--vocab-size", 1048577], "allowed are 257 to 1048576"),
        (["--vocab-size", 300], "--vocab-size 300: only --tokenizer bpe takes it"),
        (["--tokenizer", "bqe"], "--tokenizer bqe: neither byte, bpe, gpt2 nor a file"),
        (["--tokenizer", "gpt2"], "--tokenizer gpt2 needs --vocabulary"),
        (["--merges", "m"], "--merges m: only --tokenizer gpt2 takes it"),
        (["--shard-tokens", 0], "--shard-tokens is 0, allowed are 1 to 2147483647"),
        (["--validation-fraction", 0.1], "exactly one of --validation, --validation-fraction, "),
        (["--validation-tokens", 5], "not --validation, --validation-tokens"),
        (["--text-field", "body"], "--text-field body: none of the files is read as JSON lines"),
        (["--documents", "chapter"], "invalid choice: 'chapter'"),
        (["--shard-tokens", "many"], "invalid int value: 'many'"),
    ],
)
def test_options_that_do_not_fit_exit_with_2(
    texts: list[Path],
    output: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[object],
    message: str,
) -> None:
    assert prepare_all(texts, output, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("blockwise: ")
    assert error.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "exactly one of --validation, --validation-fraction, --validation-tokens must be "
             "given, not none"),
        (["--validation-fraction", 0], "is 0.0, it must be above 0 and below 1"),
        (["--validation-fraction", 1], "is 1.0, it must be above 0 and below 1"),
        (["--validation-fraction", "nan"], "is nan, it must be above 0"),
        (["--validation-fraction", 0.99], "fraction 0.99: no text is left for the train tokens"),
        (["--validation-tokens", 0], "is 0, it must be at least 1"),
        (["--validation-tokens", 10**9], "1000000000: no text is left for the train"),
        (["--validation-tokens", 9, "--tokenizer", "bpe"], "bpe is trained on the training text"),
    ],
)  # fmt: skip
def test_splits_that_do_not_fit_exit_with_2(
    texts: list[Path],
    output: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[object],
    message: str,
) -> None:
    texts[0].write_text("some text")
    assert run("--train", texts[0], "--output", output, *more) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no such file"), (b"", "is empty")]
)
def test_missing_and_empty_files_exit_with_2(
    texts: list[Path],
    output: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
) -> None:
    texts[2].unlink()
    if content is not None:
        texts[2].write_bytes(content)
    assert prepare_all(texts, output) == 2
    assert f"{texts[2]}: {message}" in capsys.readouterr().err


def test_tokenizers_that_do_not_fit_exit_with_2(
    texts: list[Path], tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*more: object) -> str:
        assert prepare_all(texts, output, *more) == 2
        assert not output.exists()
        return capsys.readouterr().err

    assert "no such file" in error("--tokenizer", "gpt2", "--vocabulary", "v", "--merges", "m")
    gpt2 = write_gpt2_files(tmp_path, end=False)
    assert "has no token '<|endoftext|>'" in error(*gpt2, "--document-separator", "before")
    assert "--end-of-text names another" in error(
        *gpt2, "--document-separator", "after", "--end-of-text", "nothing"
    )
    (tmp_path / "encoder.json").write_text("[")
    assert "not the files of a BPE" in error(*gpt2)
    assert "not a tokenizer.json" in error("--tokenizer", texts[0])


def test_a_vocabulary_without_all_bytes_is_refused(
    texts: list[Path], tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpt2 = write_gpt2_files(tmp_path)
    (tmp_path / "encoder.json").write_text('{"a": 0}')
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n")
    assert prepare_all(texts, output, *gpt2) == 2
    assert "255 of the 256 bytes have no entry" in capsys.readouterr().err


def test_bare_files_hold_narrow_tokens_only(
    texts: list[Path], tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = llama3_style()
    tokenizer.add_tokens([f"\u0f00{number}" for number in range(1 << 16)])
    tokenizer.save(str(tmp_path / "wide.json"))
    assert prepare_all(texts, output, "--tokenizer", tmp_path / "wide.json", "--format",
                       "raw_uint16") == 2  # fmt: skip
    message = f"{tokenizer.get_vocab_size()} entries, --format raw_uint16 holds"
    assert message in capsys.readouterr().err


def test_an_output_that_is_a_file_exits_with_2(
    texts: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_all(texts, texts[0]) == 2
    assert "is not a folder" in capsys.readouterr().err


# ---- whole or not at all -----------------------------------------------------------------------


def test_bad_text_leaves_the_old_files(texts: list[Path], output: Path) -> None:
    bpe = ("--tokenizer", "bpe", "--vocab-size", 300)
    assert prepare_all(texts, output, *bpe) == 0
    before = content_of(output)
    texts[0].write_text("another text\n" * 100)
    texts[2].write_bytes(b"\xff")
    assert prepare_all(texts, output, *bpe) == 2
    assert content_of(output) == before


def test_a_full_disk_leaves_the_old_files_and_exits_with_1(
    texts: list[Path],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prepare_all(texts, output) == 0
    before = content_of(output)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert prepare_all(texts, output, "--shard-tokens", 1000) == 1
    assert "the run failed: [Errno 28] No space left" in capsys.readouterr().err
    assert content_of(output) == before


def test_an_output_that_cannot_be_written_is_a_sentence(texts: list[Path], output: Path) -> None:
    words = [sys.executable, "-m", "blockwise.tokens", "--output", str(output),
             "--train", str(texts[0]), "--validation", str(texts[2])]  # fmt: skip
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
        assert result.returncode == 1
        assert result.stderr.endswith(
            "blockwise: standard output: cannot be written: No space left on device\n"
        )
        assert "Traceback" not in result.stderr
        # Progress is no result.
        assert subprocess.run(words, stdout=subprocess.PIPE, stderr=full).returncode == 0


def test_a_link_in_place_of_the_staging_folder_is_not_followed(
    texts: list[Path], output: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "elsewhere" / "file"
    precious.parent.mkdir()
    precious.write_text("mine")
    output.mkdir()
    (output / "partial").symlink_to(precious.parent)
    assert prepare_all(texts, output) == 0
    assert precious.read_text() == "mine"


def test_new_files_replace_all_old_ones(texts: list[Path], output: Path) -> None:
    assert prepare_all(texts, output, "--shard-tokens", 1000, "--tokenizer", "bpe") == 0
    (output / "notes.txt").write_text("mine")
    assert prepare_all(texts, output) == 0
    assert set(content_of(output)) == {"manifest.json", "train.bin", "validation.bin", "notes.txt"}


def test_an_old_manifest_names_no_file_elsewhere(texts: list[Path], output: Path) -> None:
    output.mkdir()
    precious = output.parent / "precious.bin"
    precious.write_text("mine")
    shards = [{"file": "../precious.bin"}, {"file": str(precious)}]
    (output / "manifest.json").write_text(json.dumps({"files": {"train": {"shards": shards}}}))
    assert prepare_all(texts, output) == 0
    assert precious.exists()


def start_endless(tmp_path: Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that reads from a pipe which never ends, and has begun to write.

    Pipes are refused; here one stands for a text that is long enough.
    """
    pipe = tmp_path / "pipe"
    command = [sys.executable, "-c",
               "import sys, blockwise.tokens.prepare as p; p.check = lambda job: None;"
               "import blockwise.tokens.text as t; t.open_input = lambda path: open(path, 'rb');"
               "from blockwise.tokens import __main__ as m; sys.exit(m.main(sys.argv[1:]))",
               "--train", pipe, "--validation", pipe, "--output", output]  # fmt: skip
    os.mkfifo(pipe)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "python")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    with suppress(BrokenPipeError), pipe.open("wb") as stream:
        while not (output / "partial").is_dir() or not any((output / "partial").iterdir()):
            stream.write(b"text " * 100_000)
        yield process
        while True:
            stream.write(b"text " * 100_000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_program_leaves_the_old_files(
    texts: list[Path], tmp_path: Path, output: Path, number: signal.Signals
) -> None:
    assert prepare_all(texts, output) == 0
    before = content_of(output)
    endless = start_endless(tmp_path, output)
    process = next(endless)
    # Meanwhile nobody else may write there.
    assert prepare_all(texts, output) == 2
    process.send_signal(number)
    assert next(endless, None) is None
    process.wait(60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert content_of_files(output) == before
        assert prepare_all(texts, output) == 0
    else:
        assert process.returncode == 4
        assert f"stopped by {number.name}; the folder is as it was" in process.stderr.read()
    assert content_of(output) == before


def content_of_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
