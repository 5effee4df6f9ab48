"""The study of learning rates by role: papers' factors, those of a search, and their floors.

blockwise search-lr ...; blockwise sweep ...    # see configs/studies/rates.yaml
python -m studies.claims.rates runs/rates
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.sweep import Sweep, read_sweep

from .. import REPOSITORY
from .paired_losses import difference_table, loss_table
from .printing import print_table
from .role_rates import factor_correlation, factor_table, read_searched, spectral_factors

RULES = ("adamw", "adam_mini")
METHODS = ("fixed", "scaled", "llr", "searched")
PAIRS = tuple(
    pair
    for rule in RULES
    for pair in (
        *((f"{rule}_{method}", rule) for method in METHODS),
        (f"{rule}_fixed", f"{rule}_scaled"),
        (f"{rule}_scaled", f"{rule}_searched"),
    )
)


def mean_spectral_factors(sweep: Sweep, group: str) -> dict[str, float]:
    """LLR's factors by role at the end, mean over the confirmed runs of a group."""
    runs = [one for one in sweep.confirmations if one.group == group and one.id in sweep.runs]
    found = [spectral_factors(sweep.runs[one.id], one.run.parent) for one in runs]
    roles = found[0] if found else {}
    return {role: float(np.mean([factors[role] for factors in found])) for role in roles}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where something is missing."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder
    try:
        sweep = read_sweep(folder / "sweep")
        searched = {rule: read_searched(folder / rule) for rule in RULES}
        factors = factor_table(searched, mean_spectral_factors(sweep, "adamw_llr"))
        print_table("factors by role", factors)
        columns = ["blockwise_lr", "llr", *RULES]
        print_table("rank correlation over roles", factor_correlation(factors, columns))
        print_table("confirmed losses, nats per token", loss_table(sweep))
        print_table("differences", difference_table(sweep, PAIRS))
    except RunFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.claims.rates",
        description="Prints factors of the learning rate by role, and what they do to the loss.",
    )
    folder = REPOSITORY / "runs" / "rates"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the study")
    return parser


if __name__ == "__main__":
    sys.exit(main())
