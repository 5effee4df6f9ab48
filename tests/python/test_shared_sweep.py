"""Sweep processes of several machines in one folder.

A second machine is a process whose flock() fails, as on network file systems without such locks: what
keeps two of them apart is then the lease alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from small_sweep import SmallSweep, wait_until

from studies.program import program

pytestmark = [
    pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="a C++ compiler makes the other machine"),
]

NO_LOCKS = """
#include <errno.h>
extern "C" int flock(int, int) { errno = ENOSYS; return -1; }
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process on another machine."""
    folder = tmp_path_factory.mktemp("machine")
    source, library = folder / "no_locks.cpp", folder / "no_locks.so"
    source.write_text(NO_LOCKS, encoding="utf-8")
    subprocess.run(["c++", "-shared", "-fPIC", "-o", library, source], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def uninterrupted(folder: Path, sweep: SmallSweep) -> dict[str, list[float]]:
    alone = replace(sweep, folder=folder, name="alone", environment=dict(os.environ))
    assert alone.run("--jobs", "1").returncode == 0
    return alone.losses()


def claims(sweep: SmallSweep) -> list[Path]:
    return sorted(sweep.output.rglob("claim-*.json*"))


def test_two_machines_do_every_member_once(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    sweep = SmallSweep(tmp_path, steps=30, seeds=range(1, 9), environment=elsewhere)
    processes = [sweep.start("--jobs", "2") for _ in range(3)]
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "8 of 8 members finished" in output
    assert set(sweep.processes().values()) == {1}
    assert claims(sweep) == []
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_the_members_of_a_lost_machine_go_on_elsewhere(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    sweep = SmallSweep(tmp_path, steps=1200, seeds=[1], width=256, checkpoint_every=100, environment=elsewhere)
    lost = sweep.start("--lease", "3")
    wait_until(lambda: sweep.has_checkpoint("run-s1"), "the first machine has a checkpoint")
    os.killpg(lost.pid, signal.SIGKILL)
    lost.communicate()
    assert len(claims(sweep)) == 1
    again = sweep.run("--lease", "3")
    assert again.returncode == 0, again.stderr
    assert "members are run by another process" in again.stderr
    assert f"(process {lost.pid})" in again.stderr
    assert claims(sweep) == []
    first_steps = list(sweep.result("run-s1").processes["from_step"])
    assert len(first_steps) == 2
    assert first_steps[1] > first_steps[0]
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_a_machine_that_comes_back_late_writes_no_more(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    sweep = SmallSweep(tmp_path, steps=1200, seeds=[1], width=256, environment=elsewhere)
    late = sweep.start("--lease", "3")
    wait_until(lambda: sweep.trains("run-s1"), "the first machine trains")
    os.killpg(late.pid, signal.SIGSTOP)
    other = sweep.start("--lease", "3")
    wait_until(lambda: any(path.name == "claim-2.json" for path in claims(sweep)), "the other takes over")
    os.killpg(late.pid, signal.SIGCONT)
    for process in (late, other):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert ("lost its lease" in errors) == (process is late)
    assert claims(sweep) == []
    assert sweep.losses() == uninterrupted(tmp_path, sweep)


def test_a_task_leaves_a_member_to_the_living_process_that_runs_it(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    sweep = SmallSweep(tmp_path, steps=1_000_000, seeds=[1], width=256, environment=elsewhere)
    first = sweep.start("--lease", "3")
    wait_until(lambda: sweep.trains("run-s1"), "the first process trains")
    words = [str(program()), "sweep", str(sweep.output), "--member", "run-s1", "--lease", "3"]
    task = subprocess.run(words, env=elsewhere, capture_output=True, text=True, check=False)
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert task.returncode == 0, task.stderr
    assert "0 of 1 members finished" in task.stdout
    assert "1 left to others" in task.stdout
    assert f"left to {os.uname().nodename} (process {first.pid})" in task.stderr
