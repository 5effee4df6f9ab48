"""A network that stalls in the middle of a run of two processes, on hosts of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY

from studies.program import program

sys.path.append(str(REPOSITORY / "tests" / "benchmarks" / "ranks"))
from hosts import hosts, stall, start  # noqa: E402

STEPS = 400
TIMEOUT = 6


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

CONFIG = f"""
name: small
data: {{kind: markov_tokens, vocab_size: 64, sequence_length: 32}}
model: {{family: llama, n_layer: 2, n_head: 2, n_embd: 32}}
optimizer: {{rule: adam_mini, learning_rate: 1.0e-3}}
trainer: {{steps: {STEPS}, micro_batch_size: 4, global_batch_tokens: 256, checkpoint_every: 20}}
parallel: {{timeout_seconds: {TIMEOUT}}}
"""


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


def wait_all(processes: list[subprocess.Popen[bytes]], seconds: float) -> list[int]:
    """Exit codes; what has not ended in time is killed, which is its code then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()
    return [process.wait() for process in processes]


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
        # The wait for the other is bounded, and so is the end.
        assert wait_all(stalled, TIMEOUT + 30) == [1, 1]
    text = (tmp_path / "errors").read_text()
    assert "blockwise: " in text
    assert "rank" in text or "process" in text
    before = losses(tmp_path / "stalled")
    assert 40 <= len(before) < STEPS
    with hosts(2, 0):
        again = [start(told, words(tmp_path, "stalled"), rank, 2) for rank in range(2)]
        assert wait_all(again, 120) == [0, 0]
    expected = losses(tmp_path / "whole")
    assert np.array_equal(losses(tmp_path / "stalled"), expected)
    assert np.array_equal(before, expected[: len(before)])
