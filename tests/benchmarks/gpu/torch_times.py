"""Seconds of a call in PyTorch, on the CPU or a GPU."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from time import perf_counter

import torch


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def release_memory(device: str) -> None:
    """What nobody refers to any more goes back to the device, which other processes use, too."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def seconds_of(call: Callable[[], object], device: str, at_least: float) -> float:
    """The median of five batches of calls, of at_least / 5 seconds each. Within a batch the host does
    not wait for the device."""
    call()
    wait(device)
    start = perf_counter()
    call()
    wait(device)
    count = max(1, int(at_least / 5 / (perf_counter() - start)))
    batches = []
    for _ in range(5):
        start = perf_counter()
        for _ in range(count):
            call()
        wait(device)
        batches.append((perf_counter() - start) / count)
    return statistics.median(batches)
