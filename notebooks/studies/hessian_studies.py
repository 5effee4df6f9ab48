"""Runs the Hessian studies of configs/hessian, prints their tables and draws their figures.

    python -m studies.hessian_studies                      # all of them, five minutes on two cores
    python -m studies.hessian_studies --only mlp classes
    python -m studies.hessian_studies --small --output /tmp/small

What is finished is not measured again. `--small` shrinks every study to seconds: to see that they
run, not what they say. The study of GPT-2 reads the default corpus (`make corpus`), or the token
files of --corpus.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from blockwise.figures.block_matrix import coupling_figure, distance_figure
from blockwise.figures.energy import energy_figure
from blockwise.figures.spectrum import block_spectra_figure
from blockwise.figures.style import save_figure
from blockwise.files.spectra import read_spectrum

from . import REPOSITORY
from .class_figure import class_figure
from .hessian_tables import class_table, heterogeneity_table, neuron_table, structure_table
from .program import ProgramError, run_program


@dataclass(frozen=True)
class Study:
    """One configuration, what it says, and its picture."""

    verb: str  # of the program
    small: dict[str, str]  # settings that shrink it
    table: Callable[[Path], pd.DataFrame]
    figure: Callable[[Path], Figure]
    reads_corpus: bool = False


STUDIES = {
    "mlp": Study(
        "train",
        {
            "data.features": "32",
            "data.classes": "6",
            "trainer.steps": "20",
            "hessian.at_steps": "[1, 10, 20]",
        },
        neuron_table,
        lambda folder: coupling_figure(read_spectrum(folder)),
    ),
    "transformer-exact": Study(
        "train",
        {
            "model.n_embd": "8",
            "schedule.warmup_steps": "2",
            "trainer.steps": "20",
            "hessian.at_steps": "[0, 20]",
        },
        structure_table,
        lambda folder: energy_figure(read_spectrum(folder)),
    ),
    "gpt2-tensors": Study(
        "train",
        {
            "data.sequence_length": "8",
            "data.validation_tokens": "64",
            "model.n_embd": "8",
            "schedule.warmup_steps": "2",
            "trainer.steps": "10",
            "hessian.at_steps": "[0, 10]",
            "hessian.lanczos.steps": "6",
        },
        lambda folder: heterogeneity_table({"gpt2": folder}),
        lambda folder: block_spectra_figure(read_spectrum(folder)),
        reads_corpus=True,
    ),
    "mlp-deep": Study(
        "train",
        {
            "data.features": "8",
            "data.classes": "8",
            "model.hidden": "[8, 8]",
            "schedule.warmup_steps": "2",
            "trainer.steps": "10",
            "hessian.at_steps": "[0, 10]",
            "hessian.lanczos.steps": "6",
        },
        lambda folder: heterogeneity_table({"perceptron": folder}),
        lambda folder: distance_figure(read_spectrum(folder)),
    ),
    "classes": Study(
        "sweep",
        {"sweep.seeds": "[1, 2]", "data.features": "4", "hessian.batch_size": "64"},
        class_table,
        lambda folder: class_figure(class_table(folder)),
    ),
}


def measure(name: str, folder: Path, settings: dict[str, str]) -> None:
    """Runs the study's configuration into the folder; its progress goes to stderr."""
    command = [STUDIES[name].verb, f"configs/hessian/{name}.yaml"]
    run_program(command, {"output": str(folder)} | settings)


def settings_of(study: Study, small: bool, corpus: Path | None) -> dict[str, str]:
    settings = dict(study.small) if small else {}
    if corpus is not None and study.reads_corpus:
        settings |= {f"data.{part}": str(corpus / f"{part}.bin") for part in ("train", "validation")}
    return settings


def run(name: str, output: Path, small: bool, corpus: Path | None) -> None:
    study = STUDIES[name]
    folder = output / name
    measure(name, folder, settings_of(study, small, corpus))
    with pd.option_context("display.width", 160, "display.max_columns", 20):
        table = study.table(folder).to_string(float_format=lambda value: f"{value:.4g}")
    print(f"{name}\n{table}\n", flush=True)
    save_figure(study.figure(folder), output / f"{name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a study failed."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.hessian_studies",
        description="Runs the studies of configs/hessian, prints their tables, draws their figures.",
    )
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "runs" / "hessian")
    parser.add_argument("--small", action="store_true", help="in seconds, to see that they run")
    parser.add_argument(
        "--corpus", type=Path, help="folder with train.bin and validation.bin, for gpt2-tensors"
    )
    options = parser.parse_args(arguments)
    for name in options.only:
        try:
            run(name, options.output.resolve(), options.small, options.corpus)
        except ProgramError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
