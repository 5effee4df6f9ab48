"""Models whose weights, gradients and optimizer state take as many bytes as the baseline's.

    python -m studies.optimizer_study.widths configs/studies/optimizers-equal-memory.yaml

What an optimizer saves is spent on width: the largest `n_embd`, in steps of heads times two, that
fits with the MLP of its default size, and then the widest MLP, in steps of four. Prints the table
and the two keys of every group, beside those that the file has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from blockwise.files.yaml_file import read_yaml

from .. import REPOSITORY
from ..program import ProgramError, program_json

N_EMBD, INTERMEDIATE = "model.n_embd", "model.intermediate_size"
_MLP_STEP = 4
_LASTING = ("parameter_bytes", "gradient_bytes", "optimizer_bytes")


def widths_table(config: Path) -> pd.DataFrame:
    """A row per group of a sweep's file: group; n_embd, intermediate_size; parameters; bytes; share
    of the baseline's bytes; fits, whether the file has these sizes. Takes a plan of each."""
    document = read_yaml(config)
    sweep, model = document["sweep"], document["model"]
    groups = {group["name"]: group["set"] for group in sweep["groups"]}
    baseline = sweep["baseline"]
    step = 2 * model["n_head"]
    first = {N_EMBD: model["n_embd"], INTERMEDIATE: 0}
    budget = lasting_bytes(plan(config, first | groups[baseline]))
    rows = []
    for name, settings in groups.items():
        sizes = first
        if name != baseline:
            sizes = fitted(config, settings, budget, step, model["n_embd"])
        found = plan(config, settings | sizes)
        row = {"group": name, "n_embd": sizes[N_EMBD], "intermediate_size": sizes[INTERMEDIATE]}
        row |= {"parameters": found["parameters"], "bytes": lasting_bytes(found)}
        in_file = {key: settings.get(key, size) for key, size in first.items()}
        rows.append(row | {"share": row["bytes"] / budget, "fits": in_file == sizes})
    return pd.DataFrame(rows)


def fitted(
    config: Path, settings: Mapping[str, Any], budget: int, step: int, smallest: int
) -> dict[str, int]:
    """The sizes of the model that these settings of the optimizer leave room for."""

    def fits(n_embd: int, mlp: int) -> bool:
        sizes = {N_EMBD: n_embd, INTERMEDIATE: mlp}
        return lasting_bytes(plan(config, dict(settings) | sizes)) <= budget

    if not fits(smallest, 0):
        return {N_EMBD: smallest, INTERMEDIATE: 0}
    n_embd = largest(lambda width: fits(width, 0), smallest, step)
    mlp = largest(lambda width: fits(n_embd, width), n_embd // 3 * 8, _MLP_STEP)
    return {N_EMBD: n_embd, INTERMEDIATE: mlp}


def largest(fits: Callable[[int], bool], first: int, step: int) -> int:
    """The last of first, first + step, ... that fits, where all up to it do and the first does."""
    reach = 1
    while fits(first + reach * step):
        reach *= 2
    low, high = reach // 2, reach
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(first + middle * step) else (low, middle)
    return first + low * step


def plan(config: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`blockwise plan` of a file on bytes, with these keys set."""
    pairs = {"data.vocab_size": 256, **settings}
    words = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
    return program_json(["plan", str(config), *words])


def lasting_bytes(found: Mapping[str, Any]) -> int:
    """Weights, gradients and optimizer state of a plan."""
    return sum(int(found[name]) for name in _LASTING)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where the program gives no plan."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.optimizer_study.widths",
        description="Prints the sizes of the models that take as many bytes as the baseline's.",
    )
    default = REPOSITORY / "configs/studies/optimizers-equal-memory.yaml"
    parser.add_argument("config", type=Path, nargs="?", default=default, help="of the sweep")
    try:
        table = widths_table(parser.parse_args(arguments).config)
    except (ProgramError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
