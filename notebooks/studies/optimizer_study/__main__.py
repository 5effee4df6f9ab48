"""The command line of the study."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from blockwise.figures.style import FIGURE_SUFFIXES, save_figure
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep, read_sweep

from .. import REPOSITORY
from .figures import loss_bytes_figure, rates_figure
from .judged import judged_groups
from .markdown import markdown
from .tables import MARGIN, study_table, target_loss
from .target_loss import DEVIATIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a file cannot be read or written."""
    options = _parser().parse_args(arguments)
    try:
        sweep = read_sweep(options.folder)
        if options.baseline:
            sweep = _against(sweep, options.baseline)
        table = study_table(sweep, options.margin)
        print(markdown(table, sweep.baseline), notes(sweep, options.margin), sep="\n\n", flush=True)
        if options.figure:
            save_figure(loss_bytes_figure(table, sweep.baseline), options.figure)
        if options.rates:
            save_figure(rates_figure(sweep), options.rates)
    except (RunFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _against(sweep: Sweep, baseline: str) -> Sweep:
    if baseline not in sweep.groups:
        raise RunFileError(f"--baseline: the sweep has no group '{baseline}'")
    return replace(sweep, baseline=baseline)


def notes(sweep: Sweep, margin: float) -> str:
    """What the columns mean, with the numbers of this sweep."""
    target = target_loss(judged_groups(sweep)[sweep.baseline])
    return "\n".join(
        [
            "loss: final, on the validation set, nats per token, mean ± 95 % interval over seeds "
            "that chose nothing. difference: paired by seed; p: two-sided paired t-test, Holm's "
            "correction over all rows.",
            f"tried: configurations; band: rates within {margin:g} nats of the group's lowest loss "
            "on the seeds that chose; ≥: it ends where the grid does. edge: so does the rate.",
            f"passes: the first evaluation at which (target - mean over the n seeds) sqrt(n) is at "
            f"least {DEVIATIONS:g} s = {target.margin:.4f}; target {target.loss:.4f} and "
            f"s {target.deviation:.4f} are the mean and the standard deviation of the final losses "
            f"of {sweep.baseline} over {target.seeds} seeds, taken as known; {sweep.baseline} "
            "passes at its end by definition.",
            "mean there: where the mean over seeds first comes down to the target, linear between "
            "evaluations; no test. Seconds are of the steps alone. Energy, where counters are "
            "readable, is the whole machine's: of a sweep with one job and nothing beside it.",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.optimizer_study",
        description="Prints the table of a sweep over optimizers, as Markdown.",
    )
    folder = REPOSITORY / "runs" / "optimizers"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the sweep")
    parser.add_argument(
        "--margin", type=float, default=MARGIN,
        help=f"nats above the best loss that the stability band allows (default {MARGIN:g})",
    )  # fmt: skip
    parser.add_argument("--baseline", help="group to compare with, instead of the sweep's own")
    parser.add_argument("--figure", type=_figure, help="draws loss against bytes of state")
    parser.add_argument("--rates", type=_figure, help="draws loss against the learning rate")
    return parser


def _figure(text: str) -> Path:
    if Path(text).suffix.lower() not in FIGURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"'{text}' does not end in {', '.join(FIGURE_SUFFIXES)}")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
