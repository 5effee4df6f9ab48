"""What is no plain file, or has no end, is refused at once, with exit code 2 and its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from make_tokens import run, write_gpt2_files

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.input_file import first_hole, open_input, read_input
from blockwise.files.partition_file import read_partition_file
from blockwise.files.run import read_run
from blockwise.files.sweep import read_sweep

SPARSE_BYTES = 1 << 42  # 4 TiB that take no room
KINDS = ["folder", "pipe", "device", "loop", "unreadable", "sparse"]


def make(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "unreadable":
        path.touch(mode=0)
        if os.geteuid() == 0:
            pytest.skip("the superuser reads everything")
    else:
        path.touch()
        try:
            os.truncate(path, SPARSE_BYTES)
        except OSError:
            pytest.skip("a file system without such files")


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"{request.param}.json"
    make(request.param, path)
    return path


def test_an_odd_file_is_not_read(odd: Path) -> None:
    with pytest.raises(OSError) as error:
        read_input(odd)
    assert error.value.strerror


def test_text_is_a_plain_file_without_holes(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.txt"
    good.write_text("It was a truth.\n")
    for options in (["--train", odd, "--validation", good], ["--train", good, "--validation", odd]):
        assert run(*options, "--output", tmp_path / "out") == 2
        errors = capsys.readouterr().err
        assert errors.startswith(f"blockwise: {odd}: ")
        assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_tokenizers_are_plain_files(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.txt"
    good.write_text("It was a truth.\n")
    files = write_gpt2_files(tmp_path)
    texts = ["--train", good, "--validation", good, "--output", tmp_path / "out"]
    for options in (
        ["--tokenizer", odd],
        [*files[:2], "--vocabulary", odd, *files[4:]],
        [*files[:4], "--merges", odd],
    ):
        assert run(*texts, *options) == 2
        errors = capsys.readouterr().err
        assert str(odd) in errors
        assert errors.count("\n") == 1


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("file", read_partition_file),
    ("file", read_run),
    ("manifest.json", lambda path: read_sweep(path.parent)),
]


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_readers_name_an_odd_file(
    kind: str, name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / name
    make(kind, path)
    with pytest.raises(RunFileError) as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        "- {rows: [0, 4], role: a, structure: tiles, tile: [0, 4]}",
        "- {rows: [0], role: a, structure: elements}",
        "- {rows: [0, 4], role: a, structure: stripes}",
        "- 7",
        "- {rows: [0, 4], structure: elements}",
    ],
)
def test_a_damaged_partition_file_is_one_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    head = "format: blockwise-partition\nversion: 2\ntensors:\n  - name: a\n    shape: [4, 4]\n"
    path.write_text(f"{head}    sections:\n      {line}\n")
    with pytest.raises(RunFileError, match="a damaged partition file"):
        read_partition_file(path)
    path.write_text(head + "[" * 5000)
    with pytest.raises(RunFileError, match="cannot be read as YAML"):
        read_partition_file(path)


def test_a_hole_is_found_and_a_text_has_none(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"x" * 100_000)
    with open_input(path) as stream:
        assert first_hole(stream) is None
        assert stream.read(1) == b"x"


def test_json_lines_are_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": ' + "[" * 200_000 + "\n")
    assert run("--train", path, "--validation", path, "--output", tmp_path / "out") == 2
    assert f"{path}:1: " in capsys.readouterr().err
