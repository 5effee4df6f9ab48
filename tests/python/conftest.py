"""Synthetic runs and sweeps for the tests, and where the package is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "python"))

from blockwise.runs import Sweep, read_sweep  # noqa: E402
from make_runs import RunSpec, usual_accidents, write_run, write_sweep  # noqa: E402


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
