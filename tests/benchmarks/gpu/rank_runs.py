"""Two processes, each with a GPU, beside one: the same losses, and tokens per second.

GPT-2 125M for some steps in two micro-batches each, with every kind of shares. NCCL takes no two processes
on one GPU, so with one there is nothing to run. Processes are started as a launcher does, by their environment.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from time import monotonic

from check_report import StageFailed, StageSkipped
from check_run import ROOT, CheckRun
from gpt2_runs import batch, command, last_losses, tokens_per_second

SHARES = ("none", "optimizer", "gradients", "parameters")
STEPS = 20
# Nats between the losses of the last step. Sums of two processes have another order, and bfloat16 products
# round what differs in the last bit of a weight: over twenty steps that stays far below what a wrong share does.
TOLERANCE = 0.02


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def words_of(run: CheckRun, output: Path, shard: str) -> list[str]:
    size = batch(run)
    more = (
        f"trainer.global_batch_tokens={2 * size.sequences * size.length}", f"parallel.shard={shard}",
        "parallel.timeout_seconds=60", "trainer.activation_checkpointing=true",
    )  # fmt: skip
    return command(run, output, 3 if run.is_rehearsal else STEPS, *more)


def train_on(run: CheckRun, processes: int, output: Path, shard: str) -> None:
    port, words, started = str(free_port()), words_of(run, output, shard), []
    bound = monotonic() + min(180.0, run.left())
    for rank in range(processes):
        place = {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        log = run.output / "logs" / f"{output.name}-{rank}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            started.append(
                subprocess.Popen(
                    words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    env=os.environ | place,
                )
            )  # fmt: skip
    try:
        codes = [process.wait(max(1.0, bound - monotonic())) for process in started]
    except subprocess.TimeoutExpired as expired:
        raise StageFailed(f"{processes} processes, shard {shard}: not done in time ({output.name}-0.log)") from expired
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
    if any(codes):
        raise StageFailed(f"{processes} processes, shard {shard}: ended with codes {codes} ({output.name}-0.log)")


def devices() -> int:
    import torch

    return torch.cuda.device_count()


def rank_runs(run: CheckRun) -> None:
    if not run.is_rehearsal and devices() < 2:
        raise StageSkipped("this machine has one GPU, and each process needs its own")
    alone = run.output / "runs" / "alone"
    train_on(run, 1, alone, "none")
    _, wanted = last_losses(run, alone)["train/loss"]
    run.report.add_figure("GPT-2 125M, one process", tokens_per_second(run, alone), "tokens/s")
    wrong = []
    for shard in SHARES:
        output = run.output / "runs" / f"shared-{shard}"
        train_on(run, 2, output, shard)
        _, loss = last_losses(run, output)["train/loss"]
        run.report.add_figure(f"GPT-2 125M, two processes, shard {shard}", tokens_per_second(run, output), "tokens/s")
        if not abs(loss - wanted) <= TOLERANCE:
            wrong.append(f"{shard} {loss:.4f}")
    if wrong:
        raise StageFailed(f"the last loss is {wanted:.4f} with one process, and with two: {', '.join(wrong)}")
