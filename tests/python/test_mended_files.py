"""A run file that a killed program left marked as open opens with h5py.File(path) again.

Skipped where the program is not built.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

_CONFIG = """\
name: killed
output: {folder}/run
data: {{kind: markov_tokens, vocab_size: 16, sequence_length: 8, tokens: 640,
  validation_tokens: 16}}
model: {{family: gpt2, n_layer: 1, n_head: 2, n_embd: 8}}
optimizer: {{rule: adamw, learning_rate: 1.0e-3}}
schedule: {{name: constant}}
trainer: {{steps: {steps}, micro_batch_size: 2, threads: 1, checkpoint_every: 50}}
"""


def write_config(folder: Path, steps: int) -> Path:
    path = folder / "run.yaml"
    path.write_text(_CONFIG.format(folder=folder, steps=steps))
    return path


def steps_of(path: Path, swmr: bool = False) -> list[int]:
    with h5py.File(path, "r", swmr=swmr, libver="latest") as file:
        return file["steps/step"][:].tolist()


def start(config: Path, run: Path) -> subprocess.Popen[bytes]:
    """A run that has a checkpoint and rows in its file, and goes on."""
    process = subprocess.Popen(
        [program(), "train", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not any(run.glob("checkpoints/step_00000*50")):
        assert process.poll() is None
        time.sleep(0.01)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def report(run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(), "report", run], check=True, capture_output=True, text=True
    )


def test_report_mends_what_a_killed_run_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(write_config(tmp_path, 10**6), run)
    # Of a run at work nothing is touched.
    before = (run / "run.h5").stat().st_ino
    report(run)
    assert (run / "run.h5").stat().st_ino == before
    kill(process)
    with pytest.raises(OSError, match="write"):
        h5py.File(run / "run.h5")
    rows = steps_of(run / "run.h5", swmr=True)
    assert len(rows) >= 50
    report(run)
    with h5py.File(run / "run.h5") as file:  # as everybody opens it
        assert file["steps/step"][:].tolist() == rows
        assert file["status/message"].attrs["units"] == "text"
    after = (run / "run.h5").stat().st_ino
    report(run)  # nothing is left to mend
    assert (run / "run.h5").stat().st_ino == after


def test_the_next_start_mends_a_run_that_is_over(tmp_path: Path) -> None:
    config, run = write_config(tmp_path, 60), tmp_path / "run"
    command = [program(), "train", config]
    subprocess.run(command, check=True, capture_output=True)
    # A writer that is gone before it closed the file.
    leave = "import h5py, os, sys; f = h5py.File(sys.argv[1], 'r+', libver='v110')"
    subprocess.run(
        [sys.executable, "-c", leave + "; f.swmr_mode = True; os._exit(0)", run / "run.h5"],
        check=True,
    )
    with pytest.raises(OSError, match="write"):
        h5py.File(run / "run.h5")
    subprocess.run(command, check=True, capture_output=True)
    assert steps_of(run / "run.h5") == list(range(1, 61))


def test_the_next_start_mends_a_run_that_goes_on(tmp_path: Path) -> None:
    config, run = write_config(tmp_path, 10**6), tmp_path / "run"
    kill(start(config, run))
    last = steps_of(run / "run.h5", swmr=True)[-1]
    subprocess.run(
        [program(), "train", config, "--set", f"trainer.steps={last + 60}"],
        check=True,
        capture_output=True,
    )
    assert steps_of(run / "run.h5") == list(range(1, last + 61))

