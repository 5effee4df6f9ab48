"""Updates beside a copy of as many bytes, and beside torch's fused AdamW with clipping.

Bytes of a step: what the update reads and writes, and 4 a parameter for the pass that finds the
gradient's norm, which every step of ours has. A copy's are 8 a number.
"""

from __future__ import annotations

from typing import Any

import torch
from check_report import Target
from check_run import CheckRun
from models import Gpt, Size
from torch_times import release_memory, seconds_of

SHARE = Target(0.90, is_least=True)
RATIOS = {"adam_mini with clipping": Target(0.65, is_least=False), "adamw with clipping": Target(0.85, is_least=False)}
RULES = ("adamw", "lion", "sgd_momentum", "adam_mini adam_mini", "adam_mini per_row", "adam_mini per_head",
         "adam_mini per_tensor", "adam_mini per_column", "adam_mini factored")  # fmt: skip


IN_FEWER_BITS = ("adamw 8-bit", "adam_mini 8-bit")  # without a target


def sizes(run: CheckRun) -> dict[str, int]:
    if run.is_rehearsal:
        return {"5M": 5_000_000}
    large = run.report.machine["gpu_bytes"] > 100 << 30
    return {"124M": 124_000_000} | ({"774M": 774_000_000} if large else {})


def layout_size(parameters: int) -> Size:
    """That of experiments/bench/optimizer_cases.cpp."""
    width, vocabulary = 512, 8192
    layers = max(1, (parameters - vocabulary * width) // (12 * width * width))
    return Size(f"{parameters}", width, layers, 8, vocabulary, 256, 1)


def torch_clipped(run: CheckRun, parameters: int) -> tuple[float, int]:
    """Seconds of clip_grad_norm_ and AdamW(fused=True), and the numbers that they go over."""
    with torch.device(run.device):
        model = Gpt(layout_size(parameters))
    weights = list(model.parameters())
    for weight in weights:
        weight.grad = torch.randn_like(weight) * 1e-3
    optimizer = torch.optim.AdamW(weights, lr=1e-6, weight_decay=0.1, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return seconds_of(step, run.device, 0.01 if run.is_rehearsal else 1.0), sum(w.numel() for w in weights)


def add_shares(run: CheckRun, size: str, count: int, rows: dict[str, dict[str, Any]]) -> None:
    copied = rows["copy"]["bytes_per_second"]
    run.report.add_figure(f"copy, {size}", copied / 1e9, "GB/s")
    for rule in RULES + IN_FEWER_BITS:
        row = rows[rule]
        moved = row["bytes_per_second"] * row["seconds"] + 4 * count
        share = moved / row["seconds"] / copied
        target = SHARE if rule in RULES else None
        run.report.add_figure(f"{rule}, {size}: bytes per second, of copy's", share, "", target)
        run.report.add_figure(f"{rule}, {size}", 1e3 * row["seconds"], "ms")


def optimizer_times(run: CheckRun) -> None:
    for size, parameters in sizes(run).items():
        rows = run.bench(f"optimizers-{size}", "optimizers", 180, "--parameters", str(parameters))
        seconds, count = torch_clipped(run, parameters)
        release_memory(run.device)
        add_shares(run, size, count, rows)
        run.report.add_figure(f"torch AdamW, fused, clipped, {size}", 1e3 * seconds, "ms")
        for rule, target in RATIOS.items():
            ratio = rows[rule]["seconds"] / seconds
            run.report.add_figure(f"{rule}, {size}, of torch's fused AdamW with clipping", ratio, "", target)
