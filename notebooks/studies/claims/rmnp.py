"""The study of RMNP's claim: do rows dominate, in the momentum and in the Hessian?

    blockwise sweep configs/studies/rmnp.yaml --jobs 1
    python -m studies.claims.rmnp --measure     # Hessians of its confirmed runs, then the tables
    python -m studies.claims.rmnp runs/rmnp     # the tables of what was measured

Measured are the confirmed runs of rmnp, after the warm-up and at the end. What is
finished is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from blockwise.analysis.sweep_tables import confirmed_configurations
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep, read_sweep

from .. import REPOSITORY
from ..program import ProgramError, run_program
from .checkpoints import checkpoint
from .paired_losses import difference_table, loss_table
from .printing import print_table
from .rmnp_tables import MOMENTUM, correlation_table, measured_table, role_table

STUDY = "configs/studies/rmnp.yaml"
STEPS = (30, 300)
NO_CHANGES: Mapping[str, object] = {}
PAIRS = (("rows", "columns"), ("rmnp", "muon"), ("rows", "adamw"), ("columns", "adamw"))


def confirmed_runs(sweep: Sweep) -> dict[tuple[str, int], Path]:
    """The folders of the confirmed runs that are measured, by group and seed."""
    chosen = {name for names in confirmed_configurations(sweep)["ids"] for name in names}
    return {
        (member.group, member.seed): member.run.parent
        for member in sweep.confirmations
        if member.id in chosen and member.group in MOMENTUM
    }


def spectrum_folder(folder: Path, group: str, seed: int) -> Path:
    return folder / f"hessian-{group}-{seed}"


def measure(
    folder: Path,
    runs: Mapping[tuple[str, int], Path],
    steps: Sequence[int],
    changes: Mapping[str, object] = NO_CHANGES,
) -> None:
    """The Hessian of every run after these steps, on that run's own first batches. changes: of the
    study's configuration."""
    for (group, seed), run in runs.items():
        models = [word for step in steps for word in ("--model", str(checkpoint(run, step)))]
        output = ["--output", str(spectrum_folder(folder, group, seed))]
        run_program(["spectrum", STUDY, *models, *output], {"seed": seed} | dict(changes))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where something is missing or failed."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder.resolve()
    try:
        sweep = read_sweep(folder / "sweep")
        runs = confirmed_runs(sweep)
        if options.measure:
            measure(folder, runs, options.steps)
        spectra = {place: spectrum_folder(folder, *place) for place in runs}
        measured = measured_table(runs, spectra)
        print_table("momentum and Hessian, by role", role_table(measured))
        print_table("rank correlation over matrices", correlation_table(measured))
        print_table("confirmed losses, nats per token", loss_table(sweep))
        print_table("differences", difference_table(sweep, PAIRS))
    except (ProgramError, RunFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.claims.rmnp",
        description="Prints how far rows dominate in the momentum and in the Hessian.",
    )
    folder = REPOSITORY / "runs" / "rmnp"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the study")
    parser.add_argument("--measure", action="store_true", help="measure the Hessians first")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=STEPS, help="after which, with --measure"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
