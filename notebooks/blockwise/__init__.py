"""Reads what blockwise writes: run files and sweeps as data frames, and figures of them.

    import blockwise
    sweep = blockwise.read_sweep("runs/quickstart")
    blockwise.final_losses(sweep)
    blockwise.save_figure(blockwise.sweep_figure(sweep), "figure.png")

Needs numpy, pandas, h5py and matplotlib, and nothing of the C++ program. Losses are in nats per
token, times in seconds, memory in bytes. Programs of the same package:

    python -m blockwise.figures DIR --output figure.png     figures of a sweep or a run
    python -m blockwise.austen --output DIR                 the default corpus
    python -m blockwise.bpe --train ... --output DIR        a BPE tokenizer and its token files
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .figures import (
        final_loss_figure,
        loss_curve_figure,
        memory_figure,
        partition_picture,
        run_figure,
        save_figure,
        sweep_figure,
        time_split,
    )
    from .intervals import MeanInterval, mean_interval, t_quantile
    from .runs import (
        Member,
        Run,
        RunFileError,
        Sweep,
        best_configurations,
        by_rank,
        configurations,
        final_losses,
        loss_band,
        loss_curves,
        read_run,
        read_sweep,
        run_status,
        status_counts,
    )

__all__ = [
    "MeanInterval",
    "Member",
    "Run",
    "RunFileError",
    "Sweep",
    "best_configurations",
    "by_rank",
    "configurations",
    "final_loss_figure",
    "final_losses",
    "loss_band",
    "loss_curve_figure",
    "loss_curves",
    "mean_interval",
    "memory_figure",
    "partition_picture",
    "read_run",
    "read_sweep",
    "run_figure",
    "run_status",
    "save_figure",
    "status_counts",
    "sweep_figure",
    "t_quantile",
    "time_split",
]

_INTERVALS = ("MeanInterval", "mean_interval", "t_quantile")
_FIGURES = ("partition_picture", "save_figure", "time_split")


def __getattr__(name: str) -> Any:
    # Late, because the corpus and tokenizer programs should not wait for Matplotlib and pandas.
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    if name in _INTERVALS:
        module = "intervals"
    elif name in _FIGURES or name.endswith("_figure"):
        module = "figures"
    else:
        module = "runs"
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
