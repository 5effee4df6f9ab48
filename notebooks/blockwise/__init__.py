"""Reads what blockwise writes: run files and sweeps as data frames, and figures of them.

    import blockwise
    sweep = blockwise.read_sweep("runs/quickstart")
    blockwise.final_losses(sweep)
    blockwise.save_figure(blockwise.sweep_figure(sweep), "figure.png")
    spectrum = blockwise.read_spectrum("runs/gpt2-spectrum")
    blockwise.spectrum_figure(spectrum)

Needs numpy, pandas, h5py and matplotlib; only `read_plans` and `read_evaluation` run the C++
program. Losses are in nats per token, times in seconds, memory in bytes, eigenvalues of a Hessian
in nats per squared parameter. Programs of the same package:

    python -m blockwise.figures DIR --output figure.png     figures of a sweep, run or Hessian
    python -m blockwise.hessian_studies                     the studies of configs/hessian
    python -m blockwise.austen --output DIR                 the default corpus
    python -m blockwise.tokens --train ... --output DIR     token files from text
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .block_matrix_drawing import coupling_matrix, distance_matrix
    from .difference_drawing import loss_differences
    from .figures import (
        block_spectra_figure,
        class_figure,
        coupling_figure,
        distance_figure,
        energy_figure,
        final_loss_figure,
        loss_curve_figure,
        loss_difference_figure,
        matrix_figure,
        memory_figure,
        memory_parts_figure,
        partition_picture,
        planned_memory_figure,
        position_loss_figure,
        run_figure,
        save_figure,
        spectrum_course_figure,
        spectrum_figure,
        sweep_figure,
        time_split,
    )
    from .hdf5_file import RunFileError
    from .intervals import MeanInterval, mean_interval, t_quantile
    from .memory_drawing import memory_savings
    from .partition_file import PartitionFile, read_partition_file
    from .plans import ProgramError, program, read_evaluation, read_plans
    from .runs import (
        Member,
        Run,
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
    from .spectra import Spectrum, read_spectrum
    from .spectral_density import (
        Bulk,
        cumulative_band,
        density,
        exact_eigenvalues,
        quadrature_trace,
        spectral_measure,
        split_outliers,
    )
    from .spectral_distance import jensen_shannon, spectral_distances
    from .spectrum_course_drawing import spectrum_course
    from .spectrum_drawing import eigenvalue_ends

__all__ = [
    "Bulk",
    "MeanInterval",
    "Member",
    "PartitionFile",
    "ProgramError",
    "Run",
    "RunFileError",
    "Spectrum",
    "Sweep",
    "best_configurations",
    "block_spectra_figure",
    "by_rank",
    "class_figure",
    "configurations",
    "coupling_figure",
    "coupling_matrix",
    "cumulative_band",
    "density",
    "distance_figure",
    "distance_matrix",
    "eigenvalue_ends",
    "energy_figure",
    "exact_eigenvalues",
    "final_loss_figure",
    "final_losses",
    "jensen_shannon",
    "loss_band",
    "loss_curve_figure",
    "loss_curves",
    "loss_difference_figure",
    "loss_differences",
    "matrix_figure",
    "mean_interval",
    "memory_figure",
    "memory_parts_figure",
    "memory_savings",
    "partition_picture",
    "planned_memory_figure",
    "position_loss_figure",
    "program",
    "quadrature_trace",
    "read_evaluation",
    "read_partition_file",
    "read_plans",
    "read_run",
    "read_spectrum",
    "read_sweep",
    "run_figure",
    "run_status",
    "save_figure",
    "spectral_distances",
    "spectral_measure",
    "spectrum_course",
    "spectrum_course_figure",
    "spectrum_figure",
    "split_outliers",
    "status_counts",
    "sweep_figure",
    "t_quantile",
    "time_split",
]

# Where names are that do not end in _figure and are not in `runs`.
_MODULES = {
    "block_matrix_drawing": ("coupling_matrix", "distance_matrix"),
    "difference_drawing": ("loss_differences",),
    "figures": ("partition_picture", "save_figure", "time_split"),
    "hdf5_file": ("RunFileError",),
    "intervals": ("MeanInterval", "mean_interval", "t_quantile"),
    "memory_drawing": ("memory_savings",),
    "partition_file": ("PartitionFile", "read_partition_file"),
    "plans": ("ProgramError", "program", "read_evaluation", "read_plans"),
    "spectra": ("Spectrum", "read_spectrum"),
    "spectral_density": (
        "Bulk", "cumulative_band", "density", "exact_eigenvalues", "quadrature_trace",
        "spectral_measure", "split_outliers",
    ),
    "spectral_distance": ("jensen_shannon", "spectral_distances"),
    "spectrum_course_drawing": ("spectrum_course",),
    "spectrum_drawing": ("eigenvalue_ends",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Late, because the corpus and tokenizer programs should not wait for Matplotlib and pandas.
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    usual = "figures" if name.endswith("_figure") else "runs"
    module = next((module for module, names in _MODULES.items() if name in names), usual)
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
