"""`blockwise train X.yaml --from RUN`: a run that starts from another one's checkpoint.

Skipped where the program is not built.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

_CONFIG = """\
name: base
output: {folder}/base
data: {{kind: markov_tokens, vocab_size: 16, sequence_length: 8, tokens: 4000,
  validation_tokens: 64}}
model: {{family: gpt2, n_layer: 2, n_head: 2, n_embd: 8, dropout: 0.1}}
optimizer: {{rule: adam_mini, learning_rate: 1.0e-2}}
schedule: {{name: constant}}
trainer: {{steps: 12, micro_batch_size: 2, global_batch_tokens: 32, threads: 1,
  checkpoint_every: 4, evaluate_every: 3, keep_checkpoints: 9}}
"""


class Base:
    """A run of 12 steps with checkpoints at 4, 8 and 12."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "run.yaml"
        self.config.write_text(_CONFIG.format(folder=folder))
        self.run = folder / "base"
        self.train("base")

    def checkpoint(self, step: int, run: str = "base") -> Path:
        return self.folder / run / "checkpoints" / f"step_{step:08d}"

    def start(
        self, output: str, *words: str, origin: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [program(), "train", self.config, "--output", self.folder / output]
        if origin is not None:
            command += ["--from", origin]
        for word in words:
            command += ["--set", word]
        wide = {**os.environ, "COLUMNS": "10000"}  # errors on one line
        return subprocess.run(command, capture_output=True, text=True, check=False, env=wide)

    def train(self, output: str, *words: str, origin: Path | None = None) -> str:
        result = self.start(output, *words, origin=origin)
        assert result.returncode == 0, result.stderr
        return result.stderr

    def refusal(self, output: str, *words: str, origin: Path) -> str:
        result = self.start(output, *words, origin=origin)
        assert result.returncode == 2, result.stderr
        assert result.stderr.count("\n") == 1
        return result.stderr

    def columns(self, run: str, table: str = "steps") -> dict[str, np.ndarray]:
        with h5py.File(self.folder / run / "run.h5") as file:
            return {
                name: column[:]
                for name, column in file[table].items()
                if "seconds" not in name and "per_second" not in name
            }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(tmp_path_factory.mktemp("forks"))


def test_a_fork_with_nothing_changed_is_the_run_that_went_on(base: Base) -> None:
    base.train("same", origin=base.checkpoint(4))
    for table in ("steps", "evaluations"):
        went_on, fork = base.columns("base", table), base.columns("same", table)
        later = went_on["step"] > 4
        assert fork["step"].tolist() == went_on["step"][later].tolist()
        for name, values in fork.items():
            np.testing.assert_array_equal(values, went_on[name][later], err_msg=name)
    for name in ("parameters.safetensors", "optimizer.safetensors"):
        ours, theirs = base.checkpoint(12, "same") / name, base.checkpoint(12) / name
        assert ours.read_bytes() == theirs.read_bytes()
    with h5py.File(base.folder / "same" / "run.h5") as file, h5py.File(base.run / "run.h5") as old:
        origin = dict(file["origin"].attrs)
        assert file["config"].attrs["hash"] != old["config"].attrs["hash"]
        assert origin["config_hash"] == old["config"].attrs["hash"]
    marker = (base.checkpoint(4) / "checkpoint.json").read_bytes()
    assert origin["path"] == str(base.checkpoint(4)).encode() or origin["path"] == str(
        base.checkpoint(4)
    )
    text = origin["sha256"] if isinstance(origin["sha256"], str) else origin["sha256"].decode()
    assert text == hashlib.sha256(marker).hexdigest()
    assert (origin["step"], origin["first_example"], origin["tokens"]) == (4, 16, 128)


def test_options_change_and_state_stays(base: Base) -> None:
    notes = base.train(
        "lower", "optimizer.learning_rate=1e-3", "trainer.steps=16", origin=base.run
    )
    assert "starts from step 12 of" in notes
    rows = base.columns("lower")
    assert rows["step"].tolist() == [13, 14, 15, 16]
    assert np.all(rows["learning_rate"] == 1e-3)
    # The state came along: the first step of a fresh Adam is several times as long.
    fresh = base.folder / "fresh"
    base.train("fresh", "optimizer.learning_rate=1e-3", "trainer.steps=1")
    assert rows["update_norm"][0] < 0.7 * base.columns("fresh")["update_norm"][0]
    assert fresh.is_dir()


def test_the_place_in_the_data_goes_on_with_another_batch(base: Base) -> None:
    base.train("wide", "trainer.global_batch_tokens=64", origin=base.checkpoint(8))
    rows = base.columns("wide")
    assert rows["step"].tolist() == [9, 10, 11, 12]
    assert rows["tokens"].tolist() == [8 * 32 + 64 * i for i in range(1, 5)]
    # A fork of the fork counts on from there.
    base.train("wider", "trainer.steps=14", origin=base.folder / "wide")
    with h5py.File(base.folder / "wider" / "run.h5") as file:
        assert file["origin"].attrs["first_example"] == 8 * 4 + 4 * 8
    shorter = ("data.sequence_length=4", "model.block_size=8")  # GPT-2's positions are weights
    notes = base.train("other", *shorter, origin=base.checkpoint(8))
    assert "from their first example on" in notes
    notes = base.train("seed", "seed=7", origin=base.checkpoint(8))
    assert "another order of the data" in notes


def test_a_loss_without_classes_is_measured_by_the_forks_own_first_step(tmp_path: Path) -> None:
    config = tmp_path / "quadratic.yaml"
    config.write_text(
        f"name: q\noutput: {tmp_path}/q\ndata: {{kind: no_data}}\n"
        "model: {family: quadratic, blocks: 2, block_size: 6}\n"
        "optimizer: {rule: adamw, learning_rate: 1.0e-2}\n"
        "trainer: {steps: 4, micro_batch_size: 1, threads: 1}\n"
    )
    train = [program(), "train", config, "--threads", "1"]
    subprocess.run(train, check=True, capture_output=True)
    fork = [*train, "--from", tmp_path / "q", "--output", tmp_path / "f", "--set", "trainer.steps=8"]
    result = subprocess.run(fork, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_fork_of_the_best_checkpoint_names_that_checkpoint(base: Base) -> None:
    base.train("kept", "trainer.keep_best=true")
    best = base.folder / "kept" / "checkpoints" / "best"
    base.train("from-best", "trainer.steps=16", origin=best)
    with h5py.File(base.folder / "from-best" / "run.h5") as file:
        assert file["origin"].attrs["path"] == str(best.resolve())


def test_a_stopped_fork_goes_on_without_the_run_that_it_came_from(base: Base) -> None:
    source = base.folder / "copy"
    shutil.copytree(base.run, source)
    base.train("whole", "trainer.steps=16", origin=base.run)
    base.train("part", "trainer.steps=14", origin=source)
    shutil.rmtree(source)
    base.train("part", "trainer.steps=16")  # grows, too; --from is not needed any more
    for name, values in base.columns("part").items():
        np.testing.assert_array_equal(values, base.columns("whole")[name], err_msg=name)


def test_a_fork_that_was_killed_before_its_first_checkpoint(base: Base) -> None:
    base.train("early", origin=base.checkpoint(8))
    expected = base.columns("early")
    shutil.rmtree(base.folder / "early" / "checkpoints")
    with h5py.File(base.folder / "early" / "run.h5", "r+") as file:
        file["status/state"][...] = 0
    base.train("early", origin=base.checkpoint(8))
    for name, values in base.columns("early").items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.n_embd=16", ["weights do not carry over", "model.n_embd is 8 there and 16 here"]),
        ("model.n_layer=1", ["weights do not carry over", "model.n_layer is 2 there and 1 here"]),
        ("optimizer.rule=adamw", ["optimizer.rule is adam_mini there and adamw here"]),
        (
            "optimizer.partition.rule=per_tensor",
            ["another partition", "and per_tensor here"],
        ),
        ("trainer.steps=8", ["has done 12 steps, and trainer.steps is 8"]),
    ],
)
def test_what_cannot_carry_over_is_refused_by_name(
    base: Base, setting: str, words: list[str]
) -> None:
    error = base.refusal("refused", setting, origin=base.run)
    for word in words:
        assert word in error
    assert not (base.folder / "refused").exists()


def test_a_folder_with_another_run_is_refused(base: Base) -> None:
    error = base.refusal("base", "trainer.steps=20", origin=base.checkpoint(8))
    assert "was not started from" in error
    base.train("taken", "trainer.steps=10", origin=base.checkpoint(8))
    assert "was started from" in base.refusal(
        "taken", "trainer.steps=10", origin=base.checkpoint(4)
    )
    assert "there is no such run" in base.refusal("none", origin=base.folder / "no" / "run")
