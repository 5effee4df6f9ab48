"""Jane Austen's six novels as plain text: five to train on, one whole novel to evaluate on.

    python -m blockwise.corpus.austen --output data/austen
    python -m blockwise.corpus.austen --package r-cran-janeaustenr_1.0.0-1_all.deb --output data/austen

The texts are in the public domain; they come from the Debian package r-cran-janeaustenr, which is
downloaded with apt-get and unpacked without being installed. Neither R nor root is needed. Writes
train.txt, validation.txt (Persuasion), a file per novel, and corpus.json with sizes and hashes;
does nothing when all of them are there as written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.atomic_file import write_bytes_atomically
from ..files.input_file import read_input
from ..files.json_file import read_json
from .r_lazy_load import RDataError, read_character_vectors

PACKAGE = "r-cran-janeaustenr"
VALIDATION = "persuasion"

# Objects of the R package and the names of our files, in the order of the training text.
NOVELS = {
    "emma": "emma",
    "mansfieldpark": "mansfield_park",
    "northangerabbey": "northanger_abbey",
    "prideprejudice": "pride_and_prejudice",
    "sensesensibility": "sense_and_sensibility",
    "persuasion": "persuasion",
}

# A machine without network should hear so soon.
_APT_OPTIONS = ("-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
_SECONDS = 300


class CorpusError(Exception):
    """The corpus cannot be made; the message says what to do."""


# ---- getting the package -----------------------------------------------------------------------


def download_package(folder: Path) -> Path:
    """Downloads the Debian package into `folder` and returns its path.

    Uses the machine's package lists; where they do not know the package (as in a fresh container),
    fetches lists into `folder` first, which needs no root either.
    """
    if shutil.which("apt-get") is None:
        raise CorpusError("apt-get is not on this machine")
    first = _apt_get(folder, "download", PACKAGE)
    if first.returncode != 0:
        own = _own_lists(folder)
        _apt_get(folder, *own, "update")
        if _apt_get(folder, *own, "download", PACKAGE).returncode != 0:
            raise CorpusError(f"apt-get download {PACKAGE}: {_last_line(first.stderr)}")
    packages = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        raise CorpusError(f"apt-get download {PACKAGE} left no package")
    return packages[-1]


def _own_lists(folder: Path) -> list[str]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]


def _apt_get(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["apt-get", *_APT_OPTIONS, *arguments], folder)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CorpusError(f"{command[0]} did not end within {_SECONDS} seconds") from None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "failed"


# ---- reading it --------------------------------------------------------------------------------


def read_package(package: Path) -> dict[str, str]:
    """The novels of a Debian package, by our file name without suffix, lines joined by newlines."""
    if shutil.which("dpkg-deb") is None:
        raise CorpusError("dpkg-deb is not on this machine")
    if not package.is_file():
        raise CorpusError(f"{package}: there is no such file")
    with tempfile.TemporaryDirectory() as scratch:
        result = _run(["dpkg-deb", "-x", str(package.resolve()), scratch], Path(scratch))
        if result.returncode != 0:
            raise CorpusError(f"{package}: not a Debian package: {_last_line(result.stderr)}")
        indexes = sorted(Path(scratch).rglob("janeaustenr/data/Rdata.rdx"))
        if not indexes:
            raise CorpusError(f"{package}: holds no janeaustenr/data/Rdata.rdx")
        try:
            texts = read_character_vectors(indexes[0])
        except RDataError as error:
            raise CorpusError(f"{package}: {error}") from error
    missing = [name for name in NOVELS if name not in texts]
    if missing:
        raise CorpusError(f"{package}: has no {', '.join(missing)}")
    return {file: "\n".join(texts[name]) + "\n" for name, file in NOVELS.items()}


# ---- writing the corpus ------------------------------------------------------------------------


def write_corpus(folder: Path, novels: dict[str, str], package: Path) -> None:
    """Writes the texts and then corpus.json, each whole or not at all."""
    training = [name for name in novels if name != VALIDATION]
    texts = {f"{name}.txt": text for name, text in novels.items()}
    texts["train.txt"] = "\n".join(novels[name] for name in training)
    texts["validation.txt"] = novels[VALIDATION]
    contents = {name: text.encode() for name, text in texts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_bytes_atomically(folder / name, content)
    corpus = {
        "format": "blockwise-corpus",
        "version": 1,
        "package": {"file": package.name, "sha256": _sha256(package.read_bytes())},
        "train": training,
        "validation": [VALIDATION],
        "files": {
            name: {"bytes": len(content), "sha256": _sha256(content)}
            for name, content in contents.items()
        },
    }
    write_bytes_atomically(folder / "corpus.json", (json.dumps(corpus, indent=2) + "\n").encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_complete(folder: Path, package: Path | None = None) -> bool:
    """Whether the corpus is there as it was written (and, if given, out of this package)."""
    try:
        corpus: dict[str, Any] = read_json(folder / "corpus.json")
        if package is not None and _sha256(package.read_bytes()) != corpus["package"]["sha256"]:
            return False
        return all(
            _sha256(read_input(folder / name)) == entry["sha256"]
            for name, entry in corpus["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def prepare_corpus(folder: Path, package: Path | None = None) -> str:
    """Makes what is missing in `folder` and returns a sentence that says what was done.

    Without `package`, one that lies in `folder` is used, and otherwise downloaded. Text files that
    somebody put there (train.txt and validation.txt, without corpus.json) are left as they are.
    """
    if is_complete(folder, package):
        return f"{folder}: complete, nothing to do"
    own_texts = all((folder / name).is_file() for name in ("train.txt", "validation.txt"))
    if package is None and own_texts and not (folder / "corpus.json").exists():
        return f"{folder}: train.txt and validation.txt are there, nothing to do"
    with tempfile.TemporaryDirectory() as scratch:
        if package is None:
            found = sorted(folder.glob(f"{PACKAGE}_*.deb"))
            package = found[-1] if found else download_package(Path(scratch))
        novels = read_package(package)
        write_corpus(folder, novels, package)
    sizes = [(folder / name).stat().st_size for name in ("train.txt", "validation.txt")]
    return f"{folder}: train.txt ({sizes[0]:,} bytes) and validation.txt ({sizes[1]:,} bytes)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 2 without a corpus, 1 where writing failed."""
    parser = argparse.ArgumentParser(
        prog="python -m blockwise.corpus.austen",
        description="Jane Austen's novels as train.txt and validation.txt.",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the text files")
    parser.add_argument(
        "--package", type=Path, help=f"{PACKAGE}_*.deb; without it, it is downloaded with apt-get"
    )
    options = parser.parse_args(arguments)
    try:
        print(prepare_corpus(options.output, options.package))
    except CorpusError as error:
        print(
            f"error: {error}\nWithout it, put {PACKAGE}_*.deb or plain text files train.txt and "
            f"validation.txt into {options.output} and run the same command again.",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        print(f"error: {options.output}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
