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
    python -m blockwise.quadratics                          the study of quadratics, its table
    python -m blockwise.attribution                         the study of roles, its tables
    python -m blockwise.austen --output DIR                 the default corpus
    python -m blockwise.tokens --train ... --output DIR     token files from text
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attribution_drawing import attribution_figure
    from .attribution_tables import attribution_table, role_differences
    from .block_matrix_drawing import coupling_matrix, distance_matrix
    from .criteria import criteria_by_size, criteria_table, find_scores
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
    from .gain_prediction import criteria_correlation
    from .hdf5_file import RunFileError
    from .intervals import MeanInterval, mean_interval, t_quantile
    from .leave_out import read_left_out
    from .leave_out_drawing import left_out_figure
    from .memory_drawing import memory_savings
    from .partition_file import PartitionFile, read_partition_file
    from .partition_scores import read_scores
    from .partition_transfer import choice_agreement, choice_table, score_folders
    from .plans import ProgramError, program, read_evaluation, read_plans
    from .preconditioner import condition_ratio_table, condition_ratios
    from .preconditioner_drawing import condition_ratio_figure
    from .quadratic_drawing import quadratic_figure
    from .quadratic_tables import quadratic_table
    from .ranks import rank_correlation
    from .runs import (
        Member,
        Run,
        Sweep,
        best_configurations,
        by_rank,
        configurations,
        confirmed_configurations,
        final_losses,
        judged_configurations,
        loss_band,
        loss_curves,
        read_run,
        read_sweep,
        run_status,
        status_counts,
    )
    from .spectra import Eigenvector, Spectrum, read_spectrum
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
    from .stability import stability_table
    from .stability_drawing import stability_figure

__all__ = [
    "Bulk",
    "Eigenvector",
    "MeanInterval",
    "Member",
    "PartitionFile",
    "ProgramError",
    "Run",
    "RunFileError",
    "Spectrum",
    "Sweep",
    "attribution_figure",
    "attribution_table",
    "best_configurations",
    "block_spectra_figure",
    "by_rank",
    "choice_agreement",
    "choice_table",
    "class_figure",
    "condition_ratio_figure",
    "condition_ratio_table",
    "condition_ratios",
    "configurations",
    "confirmed_configurations",
    "coupling_figure",
    "coupling_matrix",
    "criteria_by_size",
    "criteria_correlation",
    "criteria_table",
    "cumulative_band",
    "density",
    "distance_figure",
    "distance_matrix",
    "eigenvalue_ends",
    "energy_figure",
    "exact_eigenvalues",
    "final_loss_figure",
    "final_losses",
    "find_scores",
    "jensen_shannon",
    "judged_configurations",
    "left_out_figure",
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
    "quadratic_figure",
    "quadratic_table",
    "quadrature_trace",
    "rank_correlation",
    "read_evaluation",
    "read_left_out",
    "read_partition_file",
    "read_plans",
    "read_run",
    "read_scores",
    "read_spectrum",
    "read_sweep",
    "role_differences",
    "run_figure",
    "run_status",
    "save_figure",
    "score_folders",
    "spectral_distances",
    "spectral_measure",
    "spectrum_course",
    "spectrum_course_figure",
    "spectrum_figure",
    "split_outliers",
    "stability_figure",
    "stability_table",
    "status_counts",
    "sweep_figure",
    "t_quantile",
    "time_split",
]

# Where names are that are in neither `figures`, for those that end in _figure, nor `runs`.
_MODULES = {
    "attribution_drawing": ("attribution_figure",),
    "attribution_tables": ("attribution_table", "role_differences"),
    "block_matrix_drawing": ("coupling_matrix", "distance_matrix"),
    "criteria": ("criteria_by_size", "criteria_table", "find_scores"),
    "difference_drawing": ("loss_differences",),
    "figures": ("partition_picture", "save_figure", "time_split"),
    "gain_prediction": ("criteria_correlation",),
    "hdf5_file": ("RunFileError",),
    "intervals": ("MeanInterval", "mean_interval", "t_quantile"),
    "leave_out": ("read_left_out",),
    "leave_out_drawing": ("left_out_figure",),
    "memory_drawing": ("memory_savings",),
    "partition_file": ("PartitionFile", "read_partition_file"),
    "partition_scores": ("read_scores",),
    "partition_transfer": ("choice_agreement", "choice_table", "score_folders"),
    "plans": ("ProgramError", "program", "read_evaluation", "read_plans"),
    "preconditioner": ("condition_ratio_table", "condition_ratios"),
    "preconditioner_drawing": ("condition_ratio_figure",),
    "quadratic_drawing": ("quadratic_figure",),
    "quadratic_tables": ("quadratic_table",),
    "ranks": ("rank_correlation",),
    "spectra": ("Eigenvector", "Spectrum", "read_spectrum"),
    "spectral_density": (
        "Bulk", "cumulative_band", "density", "exact_eigenvalues", "quadrature_trace",
        "spectral_measure", "split_outliers",
    ),
    "spectral_distance": ("jensen_shannon", "spectral_distances"),
    "spectrum_course_drawing": ("spectrum_course",),
    "spectrum_drawing": ("eigenvalue_ends",),
    "stability": ("stability_table",),
    "stability_drawing": ("stability_figure",),
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
