"""A sweep of small networks for the tests of processes that share one, and what its runs became."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import Run, read_run
from studies.program import program

_CONFIG = """
name: small
output: {output}
data: {{kind: gaussian_classes, features: 64, classes: 3}}
model: {{family: mlp, hidden: [{width}, {width}]}}
optimizer: {{rule: adamw, learning_rate: 1.0e-3}}
trainer: {{steps: {steps}, micro_batch_size: {width}, checkpoint_every: {often}, threads: 1}}
sweep:
  seeds: {seeds}
"""


@dataclass(frozen=True)
class SmallSweep:
    """A configuration in a folder of its own; `output` is the sweep's."""

    folder: Path
    steps: int
    seeds: Sequence[int]
    width: int = 8  # with 256, and as large batches, a step takes some 5 ms
    checkpoint_every: int = 0  # 0: at the end
    name: str = "out"
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def output(self) -> Path:
        return self.folder / self.name

    @property
    def ids(self) -> list[str]:
        return [f"run-s{seed}" for seed in self.seeds]

    def words(self, *more: str) -> list[str]:
        config = self.folder / "sweep.yaml"
        text = _CONFIG.format(
            output=json.dumps(str(self.output)), steps=self.steps, seeds=list(self.seeds), width=self.width,
            often=self.checkpoint_every or self.steps,
        )  # fmt: skip
        config.write_text(text, encoding="utf-8")
        return [str(program()), "sweep", str(config), *more]

    def start(self, *more: str, **settings: Any) -> subprocess.Popen[str]:
        """In a session of its own, so that its members can be signalled with it."""
        return subprocess.Popen(
            self.words(*more), cwd=self.folder, env=dict(self.environment), text=True,
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings,
        )  # fmt: skip

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*more), cwd=self.folder, env=dict(self.environment), text=True,
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip

    def result(self, member: str) -> Run:
        return read_run(self.output / "members" / member)

    def trains(self, member: str) -> bool:
        """Whether its first steps are in its file."""
        try:
            return len(self.result(member).steps) > 0
        except RunFileError:
            return False

    def has_checkpoint(self, member: str) -> bool:
        """A whole one: the one behind it is being written."""
        folders = (self.output / "members" / member / "checkpoints").glob("*/optimizer.safetensors")
        return len(list(folders)) > 1

    def losses(self) -> dict[str, list[float]]:
        """Every step's training loss, of members that have finished."""
        runs = {member: self.result(member) for member in self.ids}
        assert all(run.status == "finished" for run in runs.values()), runs
        return {member: list(run.steps["loss"]) for member, run in runs.items()}

    def processes(self) -> dict[str, int]:
        return {member: len(self.result(member).processes) for member in self.ids}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not after {seconds} seconds: {what}"
        time.sleep(0.05)
