"""The study of Gefen: what its blocks hold, what they cost, and what its theorem forces.

python -m studies.claims.gefen --find          # its blocks after one step on seed 0, both rules
blockwise partition ...                        # ours: see configs/studies/gefen.yaml
blockwise sweep configs/studies/gefen.yaml --jobs 1
python -m studies.claims.gefen --measure       # exact matrices at start and end, then the tables
python -m studies.claims.gefen runs/gefen      # the tables of what was measured
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_file import read_partition_document
from blockwise.files.run import Run, read_run
from blockwise.files.spectra import read_spectrum
from blockwise.files.sweep import Sweep, read_sweep

from .. import REPOSITORY
from ..program import ProgramError, run_program
from .checkpoints import STATE, checkpoint
from .gefen_blocks import (
    block_lengths,
    length_table,
    lengths_by_seed,
    partition_document,
    write_partition,
)
from .gefen_tables import (
    TensorLabels,
    labels_of_rule,
    matrices,
    partition_means,
    partition_table,
    run_labels,
    theorem_table,
)
from .inside_blocks import tensor_labels
from .paired_losses import difference_table, loss_table
from .printing import print_table

Settings = Mapping[str, object]

STUDY = "configs/studies/gefen.yaml"
RULES = ("neighbours", "variance")
OURS = ("energy", "homogeneity")
FOUND_ON = 0
"""The seed on which blocks are found."""
NO_CHANGES: Settings = {}
MEASURED = (("hessian", "start"), ("fisher", "start"), ("hessian", "end"))
"""Exact matrices: their kind, and of which model."""
PAIRS = (
    *(("neighbours", ours) for ours in ("energy_equal", "homogeneity_equal", "adam_mini")),
    *(("gefen", ours) for ours in (*OURS, "adam_mini")),
)
# Whole matrices of the second layer, on other examples than those that found the blocks.
_EXACT = {
    "hessian.exact": "true",
    "hessian.parts.each": "tensor",
    "hessian.parts.layers": "[1]",
    "hessian.parts.roles": "[query, key, value, mlp_gate]",
    "hessian.order": "sequential",
    "hessian.batches": "1",
    "hessian.batch_size": "4",
    "hessian.guards": "false",
}


def find(folder: Path, changes: Settings = NO_CHANGES) -> None:
    """A step with each of the two rules, and the blocks that it shows as partition files. changes:
    of the study's configuration."""
    output = folder / "first-step"
    run_program(["sweep", STUDY, "--jobs", "1"], _first_step(output) | dict(changes))
    lengths: dict[str, dict[str, int]] = {}
    for rule in RULES:
        run_folder = output / "members" / f"{rule}-s{FOUND_ON}"
        run = read_run(run_folder)
        lengths[rule] = block_lengths(checkpoint(run_folder, 1) / STATE)
        provenance = {"objective": f"gefen, {rule}", "seeds": str(FOUND_ON)}
        document = partition_document(run, lengths[rule], provenance)
        write_partition(folder / rule / "partition.yaml", document)
    print_table("elements that share a second moment", length_table(run, lengths))
    print_table("second moments", _counts(run, lengths))


def _first_step(output: Path) -> dict[str, object]:
    groups = [
        {"name": rule, "set": {"optimizer.rule": "gefen", "optimizer.blocks": rule}}
        for rule in RULES
    ]
    return {
        "output": output,
        "trainer.steps": 1,
        "schedule.warmup_steps": 0,
        "sweep.seeds": [FOUND_ON],
        "sweep.confirm": "{}",
        "sweep.parameters": "{}",
        "sweep.baseline": RULES[0],
        "sweep.groups": json.dumps(groups),
    }


def _counts(run: Run, lengths: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    sizes = dict(
        zip(run.partition["tensor"], run.partition["rows"] * run.partition["columns"], strict=True)
    )
    rows = []
    for rule, of_tensor in lengths.items():
        values = sum(size // of_tensor[tensor] for tensor, size in sizes.items())
        rows.append({"rule": rule, "values": values, "of_parameters": values / sum(sizes.values())})
    return pd.DataFrame(rows)


def trained_run(sweep: Sweep) -> Path:
    """The folder of the run of adamw at its chosen rate on the first seed that chose nothing."""
    runs = [member.run.parent for member in sweep.confirmations if member.group == "adamw"]
    if not runs:
        raise RunFileError(f"{sweep.folder}: no confirmed run of adamw")
    return runs[0]


def measure(folder: Path, trained: Path, changes: Settings = NO_CHANGES) -> None:
    """Exact matrices of the fresh model and of the trained one."""
    for kind, point in MEASURED:
        words = ["--model", str(trained)] if point == "end" else []
        words += ["--output", str(folder / f"{kind}-{point}")]
        settings = _EXACT | {"hessian.kind": kind} | dict(changes)
        run_program(["spectrum", STUDY, *words], settings)


def partitions(folder: Path, sweep: Sweep) -> dict[str, TensorLabels]:
    """Blocks by tensor of every partition that is compared."""
    members = [member for member in sweep.members if member.group == "adam_mini"]
    found: dict[str, TensorLabels] = {"adam_mini": run_labels(sweep.runs[members[0].id])}
    for name in (*RULES, *OURS):
        found[name] = tensor_labels(read_partition_document(folder / name))
    return found


def measured(folder: Path, sweep: Sweep) -> Iterator[tuple[str, pd.DataFrame]]:
    """Titles and tables: what blocks hold at both points, and the theorem at the start."""
    blocks = partitions(folder, sweep)
    spectra = {place: read_spectrum(folder / "-".join(place)) for place in MEASURED}
    hessian, fisher = spectra["hessian", "start"], spectra["fisher", "start"]
    square = {name: np.diagonal(matrix).copy() for name, matrix in matrices(fisher)}
    at_start = partition_table(hessian, square, blocks)
    yield "inside blocks, start", partition_means(at_start)
    at_end = partition_table(spectra["hessian", "end"], {}, blocks)
    yield "inside blocks, end", partition_means(at_end)
    chosen: dict[str, TensorLabels] = {
        "all pairs": {name: np.zeros_like(labels) for name, labels in blocks["energy"].items()},
        "rows": labels_of_rule(hessian, columns_alike=False),
        "columns": labels_of_rule(hessian, columns_alike=True),
        "neighbours": blocks["neighbours"],
    }
    kinds = {"hessian": hessian, "fisher": fisher}
    yield "mixed entries, start", theorem_table(kinds, square, chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where something is missing or failed."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder.resolve()
    try:
        if options.find:
            find(folder)
            return 0
        sweep = read_sweep(folder / "sweep")
        if options.measure:
            measure(folder, trained_run(sweep))
        runs = [one for one in sweep.confirmations if one.group == "gefen"]
        by_seed = {one.seed: sweep.runs[one.id] for one in runs if one.id in sweep.runs}
        print_table("lengths of gefen's blocks by seed", lengths_by_seed(by_seed))
        for title, table in measured(folder, sweep):
            print_table(title, table)
        print_table("confirmed losses, nats per token", loss_table(sweep))
        print_table("differences", difference_table(sweep, PAIRS))
    except (ProgramError, RunFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.claims.gefen",
        description="Finds Gefen's blocks, or prints what they hold and cost.",
    )
    folder = REPOSITORY / "runs" / "gefen"
    parser.add_argument("folder", type=Path, nargs="?", default=folder, help="of the study")
    parser.add_argument(
        "--find", action="store_true", help="its blocks, from one step of each rule"
    )
    parser.add_argument("--measure", action="store_true", help="measure the exact matrices first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
