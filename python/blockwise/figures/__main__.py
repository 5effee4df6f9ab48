"""Figures of a sweep, a run or a Hessian.

    python -m blockwise.figures runs/quickstart --output figure.png
    python -m blockwise.figures runs/quickstart/members/adam_mini-lr0.003-s1 --output run.pdf
    python -m blockwise.figures runs/quickstart/members/adam_mini-lr0.003-s1 --partition \\
        --output partition.svg
    python -m blockwise.figures runs/quickstart-partition/partition.yaml --output found.png
    python -m blockwise.figures runs/gpt2-spectrum --output spectrum.png
    python -m blockwise.figures runs/gpt2-spectrum --matrix "layer 0" --heads --output matrix.png

A sweep's figure has the validation loss of each group's best configuration, on the seeds that
confirm it where there are some, the final loss by learning rate with what is confirmed beside it,
and the memory of each group. A run's has its losses, its gradient norm and where
its time went. A folder with the spectrum.h5 of `blockwise spectrum` gives the eigenvalues of its
block, or the densities of all its blocks, or their course over several models; with --matrix it is
the exact matrix of a block. The other figures of a Hessian, also of one that was measured during a
run, are functions of what `read_spectrum` returns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..files.hdf5_file import RunFileError
from ..files.partition_file import read_partition_file
from ..files.run import read_run
from ..files.spectra import read_spectrum
from ..files.sweep import read_sweep
from .hessian_matrix import matrix_figure
from .partition import partition_picture
from .run import run_figure
from .spectrum import block_spectra_figure, spectrum_figure
from .spectrum_course import spectrum_course_figure
from .style import FIGURE_SUFFIXES, save_figure
from .sweep import sweep_figure


def draw(folder: Path, partition: bool = False) -> Figure:
    """The figure of a sweep folder, a run folder or file, a spectrum's, or a partition file.

    A folder with both a spectrum and a run gives the spectrum, but its partition with `partition`.
    Raises RunFileError where `folder` is none of them.
    """
    if folder.suffix == ".yaml":
        return partition_picture(read_partition_file(folder))
    if folder.is_dir() and (folder / "manifest.json").exists():
        sweep = read_sweep(folder)
        if partition:
            raise RunFileError(f"{folder}: a sweep; --partition draws one run: give its folder")
        for problem in sweep.unreadable.values():
            print(f"warning: left out: {problem}", file=sys.stderr)
        return sweep_figure(sweep)
    if not partition and _has_spectrum(folder):
        return _draw_spectrum(folder)
    if (folder / "partition.yaml").is_file() and not (folder / "run.h5").exists():
        return partition_picture(read_partition_file(folder))
    if folder.is_dir() and not (folder / "run.h5").exists():
        raise RunFileError(
            f"{folder}: neither a sweep (manifest.json) nor a run (run.h5) nor a spectrum "
            "(spectrum.h5) nor a partition (partition.yaml)" + ("; --partition draws a run" if partition else "")
        )
    run = read_run(folder)
    return partition_picture(run) if partition else run_figure(run)


def _has_spectrum(folder: Path) -> bool:
    return (folder / "spectrum.h5").exists() or folder.name == "spectrum.h5"


def _draw_spectrum(folder: Path) -> Figure:
    spectrum = read_spectrum(folder)
    if len(spectrum.steps) > 1:
        return spectrum_course_figure(spectrum)
    one = len(spectrum.blocks) == 1
    return spectrum_figure(spectrum) if one else block_spectra_figure(spectrum)


def draw_matrix(
    folder: Path, block: str, step: int | None = None, heads: bool = False
) -> Figure:
    """The exact matrix of a block, by its name or its number, of a spectrum.

    Raises RunFileError where `folder` has none, ValueError where it has not this block or step.
    """
    spectrum = read_spectrum(folder)
    by_number = block.isdecimal() and block not in set(spectrum.blocks["name"])
    return matrix_figure(spectrum, int(block) if by_number else block, step, heads)


def _figure_path(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"'{text}' does not end in {', '.join(FIGURE_SUFFIXES)}")
    return path


def _drawing(options: argparse.Namespace) -> Figure:
    if options.matrix is None:
        return draw(options.folder, options.partition)
    return draw_matrix(options.folder, options.matrix, options.step, options.heads)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 2 for bad input, 1 where writing failed."""
    parser = argparse.ArgumentParser(
        prog="python -m blockwise.figures", description="Draws a sweep, a run or a spectrum."
    )
    parser.add_argument("folder", type=Path, help="folder of a sweep, a run or a spectrum; partition file")
    parser.add_argument("--output", type=_figure_path, required=True, help=".png, .pdf or .svg")
    parser.add_argument(
        "--partition", action="store_true", help="of a run: which parameters share a second moment"
    )
    parser.add_argument(
        "--matrix", metavar="BLOCK", nargs="?", const="0",
        help="of a spectrum with exact: the matrix of this block, its name or number (default 0)",
    )  # fmt: skip
    parser.add_argument("--heads", action="store_true", help="of a matrix: lines between heads")
    parser.add_argument("--step", type=int, help="of a matrix: the training step (default: the last)")
    options = parser.parse_args(arguments)
    if options.matrix is None and (options.heads or options.step is not None):
        parser.error("--heads and --step are about a matrix: give --matrix BLOCK, too")
    try:
        save_figure(_drawing(options), options.output)
    except (RunFileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.output}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
