"""Runs the sweeps of the study `quadratics`: one per condition number and one of the blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from . import REPOSITORY
from .program import run_program

STUDY = "configs/studies/quadratics.yaml"
CONDITIONS = (10, 1000, 5000)
BLOCK_CONDITIONS = (1.1, 8)

_RATE = "optimizer.learning_rate"
_RATES_FILE = "optimizer.block_lr"


def run_sweeps(folder: Path, small: bool = False) -> None:
    """All sweeps into folders CONDITION-BLOCKCONDITION; what is finished is not run again.

    small: one of them, of five steps and two learning rates, to see that it runs.
    """
    pairs = [(10, 8)] if small else product(CONDITIONS, BLOCK_CONDITIONS)
    for condition, block_condition in pairs:
        model: dict[str, object] = {
            "model.condition": condition,
            "model.block_condition": block_condition,
        }
        run_sweep(folder / f"{condition:g}-{block_condition:g}", model, small)


def run_sweep(folder: Path, model: dict[str, object], small: bool) -> None:
    """The optimal rate of every block, and the sweep that trains with it among the others.

    Eigenvalues do not depend on the problem, so that one file of rates serves all.
    """
    output = _for_program(folder)
    measured = {"optimizer.rule": "blockwise_sgd", "optimizer.partition.rule": "per_tensor"}
    run_program(["search-lr", STUDY, "--output", f"{output}/rates"], model | measured)
    settings = model | {"output": output} | ({"trainer.steps": 5} if small else {})
    sweep = sweep_settings(f"{output}/rates/rates.yaml", small)
    run_program(["sweep", STUDY, "--jobs", "2"], settings | sweep)


def sweep_settings(rates: str, small: bool) -> dict[str, str]:
    """The study's groups, with the path of this sweep's rates; small: with two learning rates."""
    sweep = yaml.safe_load((REPOSITORY / STUDY).read_text(encoding="utf-8"))["sweep"]
    for group in sweep["groups"]:
        if _RATES_FILE in group.get("set", {}):
            group["set"][_RATES_FILE] = rates
    if small:
        for parameters in _parameters(sweep):
            if _RATE in parameters:
                parameters[_RATE]["values"] = parameters[_RATE]["values"][:2]
    changed = [key for key in ("groups", "parameters") if key in sweep]
    return {f"sweep.{key}": json.dumps(sweep[key]) for key in changed}


def _parameters(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What all groups vary, and what each one does."""
    yield sweep.get("parameters", {})
    for group in sweep["groups"]:
        yield group.get("parameters", {})


def _for_program(path: Path) -> str:
    """The path as the program takes it, which runs in the repository."""
    absolute = path.resolve()
    inside = absolute.is_relative_to(REPOSITORY)
    return str(absolute.relative_to(REPOSITORY) if inside else absolute)
