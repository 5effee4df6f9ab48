"""The package as a whole: which part imports which, its public names, its version, its installation."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

import blockwise
from blockwise.files import hdf5_guard

PACKAGE = REPOSITORY / "python/blockwise"
STUDIES = REPOSITORY / "notebooks/studies"
# A sub-package imports itself and these.
BELOW = {
    "statistics": set[str](),
    "files": {"statistics"},
    "analysis": {"files", "statistics"},
    "figures": {"analysis", "files", "statistics"},
    "tokens": {"files"},
    "corpus": {"files"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
MOST_MODULES = 25


def imported(path: Path) -> set[str]:
    """Dotted names of the modules that a file of ours imports from, relative ones made absolute."""
    root = PACKAGE.parent if path.is_relative_to(PACKAGE) else STUDIES.parent
    here = path.relative_to(root).with_suffix("").parts
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0]
    ours = [name.split(".") for name in imported(path) if name.startswith(("blockwise", "studies"))]
    assert {name[1] for name in ours if name[0] == "blockwise"} <= BELOW[part] | {part}
    assert all(name[0] == "blockwise" for name in ours)


def test_every_part_is_in_that_table() -> None:
    parts = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts == set(BELOW)


@pytest.mark.parametrize(
    "folder",
    [*sorted(BELOW), ".", *(f"../../notebooks/studies{part}" for part in ("", "/optimizer_study", "/claims", "/sizes"))],
)
def test_a_folder_holds_few_modules(folder: str) -> None:
    assert 0 < len(list((PACKAGE / folder).glob("*.py"))) <= MOST_MODULES


def test_every_public_name_is_there_and_documented() -> None:
    assert len(blockwise.__all__) > 40
    for name in blockwise.__all__:
        assert getattr(blockwise, name).__doc__, name
    assert set(blockwise.__all__) <= set(dir(blockwise))
    with pytest.raises(AttributeError, match="no attribute 'read_everything'"):
        blockwise.read_everything  # noqa: B018


def test_the_list_of_public_names_is_sorted_and_says_each_once() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    modules = [node.module for node in imports]
    names = [alias.name for node in imports for alias in node.names]
    assert modules == sorted(set(modules))
    assert len(names) == len(set(names))
    assert all(alias.asname == alias.name for node in imports for alias in node.names)


def test_preparing_tokens_does_not_wait_for_pandas_and_matplotlib() -> None:
    code = "import sys, blockwise.tokens.__main__, blockwise.corpus.austen; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    words = [sys.executable, "-c", code]
    loaded = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert "blockwise.tokens.prepare" in loaded.stdout.split()
    assert not {"pandas", "matplotlib", "h5py"} & set(loaded.stdout.split())


def test_the_process_that_checks_files_has_no_part_of_the_package_on_its_path() -> None:
    """There blockwise/statistics would stand for Python's own module of that name."""
    path = hdf5_guard._search_path()
    assert path[0] == str(PACKAGE.parent)
    assert not [folder for folder in path if Path(folder).is_relative_to(PACKAGE)]


def test_the_version_is_the_programs() -> None:
    cmake = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    (version,) = re.findall(r"project\(blockwise VERSION (\S+)", cmake)
    assert blockwise.__version__ == version


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools")
def test_pip_installs_all_of_it(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(PACKAGE.parent, tmp_path / "python", ignore=ignore)
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--no-index", "--no-deps", "--no-build-isolation", "--target", "site", "./python"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    installed = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site/blockwise").rglob("*")}
    ours = {path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*")}
    left_out = {path for path in ours - installed if "__pycache__" not in path.parts}
    assert not left_out
    (metadata,) = (tmp_path / "site").glob("blockwise-*.dist-info")
    assert metadata.name == f"blockwise-{blockwise.__version__}.dist-info"
    code = "import blockwise, sys; sys.exit(blockwise.read_run.__module__ != 'blockwise.files.run')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
