"""Reads what blockwise writes: run files and sweeps as data frames, and figures of them.

    import blockwise
    sweep = blockwise.read_sweep("runs/quickstart")
    blockwise.final_losses(sweep)
    blockwise.save_figure(blockwise.sweep_figure(sweep), "figure.png")

Needs numpy, pandas, h5py and matplotlib; only `read_plans` and `read_evaluation` run the C++
program. Losses are in nats per token, times in seconds, memory in bytes. Programs of the same package:

    python -m blockwise.figures DIR --output figure.png     figures of a sweep or a run
    python -m blockwise.austen --output DIR                 the default corpus
    python -m blockwise.tokens --train ... --output DIR     token files from text
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .difference_drawing import loss_differences
    from .figures import (
        final_loss_figure,
        loss_curve_figure,
        loss_difference_figure,
        memory_figure,
        memory_parts_figure,
        partition_picture,
        planned_memory_figure,
        position_loss_figure,
        run_figure,
        save_figure,
        sweep_figure,
        time_split,
    )
    from .intervals import MeanInterval, mean_interval, t_quantile
    from .memory_drawing import memory_savings
    from .plans import ProgramError, program, read_evaluation, read_plans
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
    "ProgramError",
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
    "loss_difference_figure",
    "loss_differences",
    "mean_interval",
    "memory_figure",
    "memory_parts_figure",
    "memory_savings",
    "partition_picture",
    "planned_memory_figure",
    "position_loss_figure",
    "program",
    "read_evaluation",
    "read_plans",
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
_PLANS = ("ProgramError", "program", "read_evaluation", "read_plans")


def __getattr__(name: str) -> Any:
    # Late, because the corpus and tokenizer programs should not wait for Matplotlib and pandas.
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    if name in _INTERVALS:
        module = "intervals"
    elif name in _FIGURES or name.endswith("_figure"):
        module = "figures"
    elif name in _PLANS:
        module = "plans"
    elif name == "loss_differences":
        module = "difference_drawing"
    elif name == "memory_savings":
        module = "memory_drawing"
    else:
        module = "runs"
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
