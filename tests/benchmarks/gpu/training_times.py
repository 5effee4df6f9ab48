"""A step of GPT-2 125M in bfloat16 autocast, beside the same model in PyTorch, eager and compiled."""

from __future__ import annotations

import shutil

from check_report import StageFailed, Target
from check_run import CheckRun
from gpt2_runs import Batch, batch, command, tokens_per_second
from models import Size
from peers import training_step
from torch_times import release_memory, seconds_of

RATE = Target(1.0, is_least=True)


def peer_size(run: CheckRun, of: Batch) -> Size:
    if run.is_rehearsal:
        return Size("tiny", 16, 1, 2, 50304, of.length, of.sequences)
    return Size("125M", 768, 12, 12, 50304, of.length, of.sequences)


def ours(run: CheckRun, name: str, *more: str) -> float:
    output = run.output / name
    shutil.rmtree(output, ignore_errors=True)
    steps = 3 if run.is_rehearsal else 60
    run.finish(name, command(run, output, steps, "trainer.evaluate_every=0", *more), 180)
    rate = tokens_per_second(run, output)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return rate


def by_graph(run: CheckRun) -> float:
    graph = ours(run, "step-graph", "trainer.cuda_graph=true")
    run.report.add_figure("training step, blockwise with a CUDA graph", graph, "tokens/s")
    return graph


def training_times(run: CheckRun) -> None:
    own = ours(run, "step")
    run.report.add_figure("training step, blockwise", own, "tokens/s")
    failed = None
    if not run.is_rehearsal:  # a CPU has none
        try:
            own = max(own, by_graph(run))
        except StageFailed as failure:  # what follows is without it
            failed = failure
    beside_pytorch(run, own)
    if failed:
        raise failed


def beside_pytorch(run: CheckRun, own: float) -> None:
    of = batch(run)
    tokens = of.sequences * of.length
    # A rehearsal compiles nothing: that takes minutes of a CPU.
    backends = {"eager": None, "compiled": "eager" if run.is_rehearsal else "inductor"}
    for name, backend in backends.items():
        step = training_step(peer_size(run, of), bfloat16=True, backend=backend, device=run.device)
        rate = tokens / seconds_of(step, run.device, 0.01 if run.is_rehearsal else 5.0)
        del step
        release_memory(run.device)
        run.report.add_figure(f"training step, PyTorch {name}", rate, "tokens/s")
        target = RATE if name == "compiled" else None
        run.report.add_figure(f"training step, blockwise of PyTorch {name}", own / rate, "", target)
