"""`blockwise train` on GPT-2 125M, or in a rehearsal on a tiny one, over the bytes of what text there is."""

from __future__ import annotations

import array
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from check_report import StageFailed
from check_run import ROOT, CheckRun, json_of

CONFIG = ROOT / "configs/gpt2/125m.yaml"
VALIDATION_TOKENS = 65536


@dataclass(frozen=True)
class Batch:
    sequences: int
    length: int


def batch(run: CheckRun) -> Batch:
    return Batch(2, 32) if run.is_rehearsal else Batch(16, 1024)


def texts() -> bytes:
    """Novels where they are, otherwise our own sources: it is the speed that is asked for."""
    novels = ROOT / "data/austen/train.txt"
    if novels.is_file():
        return novels.read_bytes()
    folders = ("core", "experiments", "hessian", "optimizers", "docs")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.?p?"))
    return b"\n".join(path.read_bytes() for path in files)


def write_tokens(folder: Path) -> None:
    if (folder / "train.bin").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = texts()
    held_out = text[: VALIDATION_TOKENS + 1]
    for name, part in {"validation.bin": held_out, "train.bin": text[len(held_out) :]}.items():
        (folder / name).write_bytes(array.array("H", list(part)).tobytes())


def command(run: CheckRun, output: Path, steps: int, *more: str) -> list[str]:
    tokens = run.output / "tokens"
    write_tokens(tokens)
    size = batch(run)
    settings = [
        f"data.train={tokens}/train.bin", f"data.validation={tokens}/validation.bin", "data.format=raw_uint16",
        f"data.sequence_length={size.length}",
        f"data.validation_tokens={8 * size.length * size.sequences}",
        f"trainer.device={run.device}", f"trainer.steps={steps}", f"trainer.micro_batch_size={size.sequences}",
        f"trainer.global_batch_tokens={size.sequences * size.length}", "trainer.checkpoint_every=0",
        "trainer.keep_checkpoints=1", "schedule.name=constant", f"schedule.warmup_steps={min(100, steps)}",
        "model.bias=true", *more,
    ]  # fmt: skip
    if run.is_rehearsal:
        settings += ["model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.block_size=32"]
    words = [str(run.program), "train", str(CONFIG), "--output", str(output)]
    return words + [word for setting in settings for word in ("--set", setting)]


def reported(run: CheckRun, output: Path) -> dict[str, Any]:
    """The run's row of `blockwise report`."""
    words = [run.program, "report", output, "--json"]
    return json_of(run.finish(f"report-{output.name}", words, 60))["configurations"][0]


def last_losses(run: CheckRun, output: Path) -> dict[str, tuple[int, float]]:
    """Step and loss of the last training step and of the last evaluation, also of a run that goes on later."""
    found = {}
    for line in run.finish("curves", [run.program, "curves", output, "--csv"], 60).splitlines():
        cells = line.split(",")
        if cells[-2:-1] in (["train/loss"], ["validation/loss"]):
            found[cells[-2]] = (int(cells[4]), float(cells[-1]))
    return found


def tokens_per_second(run: CheckRun, output: Path) -> float:
    return float(reported(run, output)["tokens_per_second"])


def train_for(run: CheckRun, output: Path, seconds: float, *more: str) -> None:
    """Stopped between two steps, with a checkpoint that the next call goes on from."""
    log = run.output / "logs" / f"train-{output.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = command(run, output, 100_000, "trainer.evaluate_every=200", *more)
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired as expired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            raise StageFailed(f"train did not stop within a minute ({log.name})") from expired
    if process.returncode not in (0, 4):
        raise StageFailed(f"train ended with code {process.returncode} ({log.name})")
