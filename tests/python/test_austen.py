from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from blockwise.corpus import austen
from blockwise.corpus.austen import CorpusError, is_complete, main, prepare_corpus
from blockwise.corpus.r_lazy_load import RDataError, decompress_record, read_character_vectors

# ---- R's files, written by hand ----------------------------------------------------------------

HAS_ATTRIBUTES, HAS_TAG = 1 << 9, 1 << 10
UTF8, LATIN1, ASCII = 1 << 15, 1 << 14, 1 << 18


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


def characters(text: str | None, flags: int = UTF8, encoding: str = "utf-8") -> bytes:
    if text is None:
        return integer(9) + integer(-1)
    encoded = text.encode(encoding)
    return integer(9 | flags) + integer(len(encoded)) + encoded


def strings(values: list[str], flags: int = 0) -> bytes:
    return integer(16 | flags) + integer(len(values)) + b"".join(map(characters, values))


def integers(values: list[int]) -> bytes:
    return integer(13) + integer(len(values)) + b"".join(map(integer, values))


def named_list(items: dict[str, bytes], tag: bytes) -> bytes:
    values = integer(19 | HAS_ATTRIBUTES) + integer(len(items)) + b"".join(items.values())
    attribute = integer(2 | HAS_TAG) + tag + strings(list(items)) + integer(254)
    return values + attribute


def document(content: bytes, version: int = 3) -> bytes:
    native = integer(5) + b"UTF-8" if version == 3 else b""
    return b"X\n" + integer(version) + integer(0x040201) + integer(0x030500) + native + content


def raw_lzma(content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6 | lzma.PRESET_EXTREME}]
    return lzma.compress(content, lzma.FORMAT_RAW, filters=filters)


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "bzip2": lambda content: b"2" + bz2.compress(content),
    "lzma": lambda content: b"Z" + raw_lzma(content),
    "xz": lambda content: b"Z" + lzma.compress(content),
    "stored": lambda content: b"0" + content,
}


def record(content: bytes, kind: str = "zlib") -> bytes:
    return struct.pack(">I", len(content)) + KINDS[kind](content)


def write_database(folder: Path, records: dict[str, bytes]) -> Path:
    """An index and a database of these records; returns the index."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets, at = {}, 0
    for name, content in records.items():
        offsets[name] = integers([at, len(content)])
        at += len(content)
    # The name of an attribute is written once and then referred to.
    symbol = integer(1) + characters("names", ASCII)
    variables = named_list(offsets, symbol)
    reference = integer(1 << 8 | 255)
    index = named_list({"variables": variables, "references": integer(254)}, reference)
    (folder / "Rdata.rdx").write_bytes(gzip.compress(document(index)))
    (folder / "Rdata.rdb").write_bytes(b"".join(records.values()))
    return folder / "Rdata.rdx"


TEXTS = {name: [f"{name.upper()}", "", "“Écoutez,” said she.", "FINIS"] for name in austen.NOVELS}


def write_package(path: Path, texts: dict[str, list[str]]) -> Path:
    """A Debian package like the real one."""
    root = path.parent / f"{path.stem}-tree"
    data = root / "usr/lib/R/site-library/janeaustenr/data"
    write_database(data, {name: record(document(strings(lines))) for name, lines in texts.items()})
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: r-cran-janeaustenr\nVersion: 0\nArchitecture: all\nMaintainer: a <a@b.c>\n"
        "Description: a test\n"
    )
    subprocess.run(["dpkg-deb", "--build", root, path], check=True, capture_output=True)
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "r-cran-janeaustenr_0_all.deb", TEXTS)


# ---- the lazy-load database --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_records_of_every_kind_are_decompressed(kind: str) -> None:
    content = os.urandom(1000) + bytes(5000)
    assert decompress_record(record(content, kind)) == content


def test_a_record_of_the_wrong_size_is_an_error() -> None:
    with pytest.raises(RDataError, match="has 3 bytes, its header says 4"):
        decompress_record(struct.pack(">I", 4) + zlib.compress(b"abc"))


@pytest.mark.parametrize("version", [2, 3])
def test_character_vectors_are_found_by_name(tmp_path: Path, version: int) -> None:
    lines = {"one": ["", "Anne’s été"], "two": ["x"] * 1000}
    index = write_database(
        tmp_path, {name: record(document(strings(v), version)) for name, v in lines.items()}
    )
    assert read_character_vectors(index) == lines


def test_encodings_are_those_that_the_strings_name(tmp_path: Path) -> None:
    vector = integer(16) + integer(2) + characters("é", LATIN1, "latin-1") + characters("é")
    index = write_database(tmp_path, {"x": record(document(vector))})
    assert read_character_vectors(index) == {"x": ["é", "é"]}


def test_attributes_of_a_vector_are_skipped(tmp_path: Path) -> None:
    tag = integer(1) + characters("comment")
    attribute = integer(2 | HAS_TAG) + tag + strings(["by R"]) + integer(254)
    index = write_database(
        tmp_path, {"x": record(document(strings(["a", "b"], HAS_ATTRIBUTES) + attribute))}
    )
    assert read_character_vectors(index) == {"x": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document(integers([1, 2])), "'x' is not a character vector"),
        (document(integer(16) + integer(1) + characters(None)), "without missing values"),
        (document(integer(3) + integer(0)), "type 3"),
        (document(strings(["a"]))[:-1], "end too early"),
        (document(strings(["a"]), 4), "version 4"),
        (b"A\n" + document(strings(["a"])), "XDR"),
    ],
)
def test_other_objects_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    index = write_database(tmp_path, {"x": record(content)})
    with pytest.raises(RDataError, match=message):
        read_character_vectors(index)


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    index = write_database(tmp_path, {"x": record(document(strings(["a"] * 100)))})
    database = index.with_suffix(".rdb")
    database.write_bytes(database.read_bytes()[:-8])
    with pytest.raises(RDataError, match=r"Rdata\.rdx: damaged"):
        read_character_vectors(index)


# ---- the corpus --------------------------------------------------------------------------------


def test_a_package_becomes_texts_and_hashes(package: Path, tmp_path: Path) -> None:
    output = tmp_path / "austen"
    assert main(["--package", str(package), "--output", str(output)]) == 0
    persuasion = "PERSUASION\n\n“Écoutez,” said she.\nFINIS\n"
    assert (output / "validation.txt").read_text() == persuasion
    assert (output / "persuasion.txt").read_text() == persuasion
    train = (output / "train.txt").read_text()
    assert train.count("FINIS\n") == 5
    assert "PERSUASION" not in train
    assert train.startswith("EMMA\n")
    corpus = json.loads((output / "corpus.json").read_text())
    assert corpus["package"]["sha256"] == hashlib.sha256(package.read_bytes()).hexdigest()
    assert len(corpus["files"]) == 8
    for name, entry in corpus["files"].items():
        content = (output / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert {path.name for path in output.iterdir()} == {*corpus["files"], "corpus.json"}


def test_a_complete_corpus_is_left_alone(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "austen"
    prepare_corpus(output, package)
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    monkeypatch.setattr(austen, "download_package", lambda _: pytest.fail("downloads"))
    assert "nothing to do" in prepare_corpus(output)
    assert "nothing to do" in prepare_corpus(output, package)
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_corpus_is_made_again(package: Path, tmp_path: Path, damage: str) -> None:
    output = tmp_path / "austen"
    prepare_corpus(output, package)
    train = output / "train.txt"
    whole = train.read_bytes()
    train.write_bytes(whole[:-1]) if damage == "changed" else train.unlink()
    assert not is_complete(output)
    prepare_corpus(output, package)
    assert train.read_bytes() == whole


def test_another_package_makes_another_corpus(package: Path, tmp_path: Path) -> None:
    output = tmp_path / "austen"
    prepare_corpus(output, package)
    other = write_package(tmp_path / "other.deb", TEXTS | {"emma": ["Emma"]})
    prepare_corpus(output, other)
    assert (output / "emma.txt").read_text() == "Emma\n"


def test_a_package_in_the_folder_is_used(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(austen, "download_package", lambda _: pytest.fail("downloads"))
    output = tmp_path / "austen"
    output.mkdir()
    package.rename(output / package.name)
    assert main(["--output", str(output)]) == 0
    assert is_complete(output)


def test_texts_that_somebody_put_there_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(austen, "download_package", lambda _: pytest.fail("downloads"))
    for name in ("train.txt", "validation.txt"):
        (tmp_path / name).write_text("my own\n")
    assert main(["--output", str(tmp_path)]) == 0
    assert (tmp_path / "train.txt").read_text() == "my own\n"
    assert not (tmp_path / "corpus.json").exists()


# ---- what may be missing -----------------------------------------------------------------------


def fake_program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_apt_the_error_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert main(["--output", str(tmp_path / "austen")]) == 2
    error = capsys.readouterr().err
    assert "apt-get is not on this machine" in error
    assert f"train.txt and validation.txt into {tmp_path / 'austen'}" in error
    assert "put r-cran-janeaustenr_*.deb or plain text files" in error


def test_a_failed_download_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_program(tmp_path, "apt-get", "echo 'E: Could not resolve host' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main(["--output", str(tmp_path / "austen")]) == 2
    error = capsys.readouterr().err
    assert "apt-get download r-cran-janeaustenr: E: Could not resolve host" in error
    assert "plain text files" in error


def test_a_machine_without_package_lists_fetches_its_own(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Knows the package only after an update into lists of our own.
    script = (
        'case "$*" in\n'
        f"*Dir::State::Lists=*update) touch {tmp_path}/updated;;\n"
        f"*Dir::State::Lists=*download*) test -e {tmp_path}/updated && cp {package} .;;\n"
        "*) echo 'E: Unable to locate package' >&2; exit 100;;\n"
        "esac"
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    fake_program(programs, "apt-get", script)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert main(["--output", str(tmp_path / "austen")]) == 0
    assert is_complete(tmp_path / "austen")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "there is no such file"),
        (lambda path: path.write_text("hello"), "not a Debian package"),
        (lambda path: write_package(path, {"emma": ["x"]}), "has no mansfieldpark"),
    ],
)
def test_a_wrong_package_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "wrong.deb"
    make(path)
    assert main(["--package", str(path), "--output", str(tmp_path / "austen")]) == 2
    assert f"{path}: {message}" in capsys.readouterr().err
    assert not (tmp_path / "austen").exists()


def test_no_dpkg_is_an_error(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(CorpusError, match="dpkg-deb is not on this machine"):
        prepare_corpus(tmp_path / "austen", package)


@pytest.mark.skipif(
    "BLOCKWISE_AUSTEN_DEB" not in os.environ, reason="BLOCKWISE_AUSTEN_DEB names no package"
)
def test_the_real_package_has_six_novels(tmp_path: Path) -> None:
    prepare_corpus(tmp_path, Path(os.environ["BLOCKWISE_AUSTEN_DEB"]))
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.txt")}
    assert 3_400_000 < sizes["train.txt"] < 3_700_000
    assert 450_000 < sizes["validation.txt"] < 480_000
    texts = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    assert "It is a truth universally acknowledged" in texts["pride_and_prejudice"]
    assert "You pierce my soul" in texts["validation"]
    assert "You pierce my soul" not in texts["train"]
    assert texts["train"].endswith("THE END\n")
