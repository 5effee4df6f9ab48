"""The disk of a run of two processes fills up in the middle: it ends, and goes on where there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from two_processes import CONFIG, free_port, wait_all

from studies.program import program


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)):
        pytest.skip("a disk of its own needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def train(config: Path, output: Path, errors: Path) -> list[int]:
    words = [str(program()), "train", str(config), "--output", str(output), "--threads", "1"]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with errors.open("wb") as file:
        started = [
            subprocess.Popen(words, env=os.environ | place | {"RANK": str(rank)}, stdout=file, stderr=file)
            for rank in range(2)
        ]
        return wait_all(started, 120)


@pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")
def test_a_full_disk_ends_all_processes_and_the_run_goes_on_with_the_same_bits(
    tmp_path: Path, small_disk: Path
) -> None:
    config, errors = tmp_path / "small.yaml", tmp_path / "errors"
    config.write_text(CONFIG.replace("checkpoint_every: 20", "checkpoint_every: 20, keep_checkpoints: 20"))
    assert train(config, tmp_path / "whole", errors) == [0, 0]
    assert train(config, small_disk / "run", errors) == [1, 1]
    text = errors.read_text()
    assert "No space left on device" in text  # of rank 0, which alone writes
    assert "rank 1 of 2: " in text
    assert mount("-o", "remount,size=64m", str(small_disk))
    assert train(config, small_disk / "run", errors) == [0, 0]
    with h5py.File(tmp_path / "whole/run.h5") as whole, h5py.File(small_disk / "run/run.h5") as run:
        assert np.array_equal(run["steps/loss"][:], whole["steps/loss"][:])
