"""One run by two processes that a real launcher starts: torchrun, mpirun, srun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, missing_programs

import blockwise
from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

# Four micro-batches a step, added pairwise: one process and two have the same bits.
CONFIG = """name: launched
data: {kind: markov_tokens, vocab_size: 32, sequence_length: 16}
model: {family: gpt2, n_layer: 1, n_head: 2, n_embd: 16}
optimizer: {rule: adam_mini, learning_rate: 1.0e-2}
trainer: {steps: 4, micro_batch_size: 2, global_batch_tokens: 128, threads: 1, device: cpu, checkpoint_every: 4}
parallel: {gradient_sum: pairwise}
"""
# What another launcher, or the machine, may have set.
OTHERS = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_", "OMPI_", "PMI_", "PMIX_", "SLURM_")


class Launched:
    """`train` in a folder, alone and by a launcher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")

    def train(
        self, name: str, launcher: tuple[str, ...] = (), more: dict[str, str] | None = None
    ) -> list[float]:
        """The losses of its steps."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(OTHERS)}
        words = [*launcher, str(program()), "train", "run.yaml", "--output", name]
        done = subprocess.run(
            words, cwd=self.folder, env=environment | (more or {}), capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return blockwise.read_run(self.folder / name).steps["loss"].tolist()

    def checkpoint(self, name: str) -> bytes:
        (weights,) = (self.folder / name / "checkpoints").rglob("parameters.safetensors")
        return weights.read_bytes()

    def check(self, launcher: tuple[str, ...], more: dict[str, str] | None = None) -> None:
        assert self.train("launched", launcher, more) == self.train("alone")
        assert self.checkpoint("launched") == self.checkpoint("alone")


def test_torchrun(tmp_path: Path) -> None:
    """Of the Python that has the tests' PyTorch."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
    Launched(tmp_path).check(launcher)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun (cmake/debian_packages_mpi.txt)")
def test_mpirun(tmp_path: Path) -> None:
    """Open MPI asks root, and more processes than cores, to be said by name."""
    Launched(tmp_path).check(("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"))


@pytest.fixture
def cluster() -> Iterator[SlurmCluster]:
    """Its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="blockwise-slurm-") as folder:
        with SlurmCluster(Path(folder)) as running:
            yield running


@pytest.mark.skipif(bool(missing_programs()), reason="Slurm is not installed (cmake/debian_packages_slurm.txt)")
def test_srun(tmp_path: Path, cluster: SlurmCluster) -> None:
    Launched(tmp_path).check(("srun", "-n", "2"), {"SLURM_CONF": cluster.environment["SLURM_CONF"]})
