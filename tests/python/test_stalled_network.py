"""A network that stalls in the middle of a run of two processes, on hosts of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from two_processes import CONFIG, STEPS, TIMEOUT, wait_all

from studies.program import program

sys.path.append(str(REPOSITORY / "tests" / "benchmarks" / "ranks"))
from hosts import hosts, stall, start  # noqa: E402


def can_make_hosts() -> bool:
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        return False
    try:
        with hosts(2, 0):
            subprocess.run(["ip", "netns", "exec", "bw1", "true"], capture_output=True, check=True)
    except subprocess.CalledProcessError:  # containers may allow some of it
        return False
    return True


pytestmark = [
    pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program"),
    pytest.mark.skipif(not can_make_hosts(), reason="network namespaces need root and iproute2"),
]


def words(folder: Path, output: str) -> list[str]:
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    return ["train", str(config), "--output", str(folder / output), "--threads", "1"]


def steps_of(run: Path) -> int:
    """Rows of the run's file, which may not be there yet."""
    try:
        with h5py.File(run / "run.h5", "r", swmr=True) as file:
            return len(file["steps/step"])
    except (OSError, KeyError):
        return 0


def losses(run: Path) -> np.ndarray:
    with h5py.File(run / "run.h5", "r") as file:
        return file["steps/loss"][:]


def test_a_stalled_network_ends_the_run_in_time_and_loses_nothing(tmp_path: Path) -> None:
    told = str(program())
    with hosts(2, 0):
        whole = [start(told, words(tmp_path, "whole"), rank, 2) for rank in range(2)]
        assert wait_all(whole, 120) == [0, 0]
    with hosts(2, 0), (tmp_path / "errors").open("wb") as errors:
        stalled = [start(told, words(tmp_path, "stalled"), rank, 2, errors) for rank in range(2)]
        while steps_of(tmp_path / "stalled") < 40 and all(p.poll() is None for p in stalled):
            time.sleep(0.02)
        stall(1)
        # The wait for the other is bounded, and so is the end: ten seconds more, and those of a loaded machine.
        assert wait_all(stalled, TIMEOUT + 20) == [1, 1]
    text = (tmp_path / "errors").read_text()
    assert "blockwise: " in text
    assert re.search(r"rank \d of 2: (gone, or not answering: rank \d|rank 0, where all meet, has left)", text), text
    before = losses(tmp_path / "stalled")
    assert 40 <= len(before) < STEPS
    with hosts(2, 0):
        again = [start(told, words(tmp_path, "stalled"), rank, 2) for rank in range(2)]
        assert wait_all(again, 120) == [0, 0]
    expected = losses(tmp_path / "whole")
    assert np.array_equal(losses(tmp_path / "stalled"), expected)
    assert np.array_equal(before, expected[: len(before)])
