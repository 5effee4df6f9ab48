"""Synthetic runs and sweeps for the tests, and where the package and the studies are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = [str(REPOSITORY / "python"), str(REPOSITORY / "notebooks")]
"""For PYTHONPATH: the package blockwise, and the studies."""
sys.path[:0] = PACKAGES

from make_runs import RunSpec, usual_accidents, write_run, write_sweep  # noqa: E402

from blockwise.files.sweep import Sweep, read_sweep  # noqa: E402


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A finished run."""
    path = tmp_path / "run" / "run.h5"
    write_run(path, RunSpec())
    return path


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups, four learning rates, three seeds: all finished. Not to be changed."""
    return write_sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="session")
def accident_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a diverged, an interrupted and a missing member. Not to be changed."""
    return write_sweep(tmp_path_factory.mktemp("accidents"), usual_accidents)


@pytest.fixture(scope="session")
def sweep(sweep_folder: Path) -> Sweep:
    return read_sweep(sweep_folder)


@pytest.fixture(scope="session")
def accidents(accident_folder: Path) -> Sweep:
    return read_sweep(accident_folder)
