"""What the program says as JSON: memory plans of configurations and evaluations of checkpoints.

    plans = read_plans(["configs/gpt2/125m.yaml", "configs/llama/1b.yaml"])
    evaluation = read_evaluation("path/to/checkpoint", "data/austen-byte/validation.bin")

Nothing is trained or downloaded; a plan needs no data. The program is build/release/blockwise of
this repository, or what the environment variable BLOCKWISE_PROGRAM names.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIMIZERS = ("adamw", "adam_mini")

# Columns of a plan that are counts or bytes; `optimizer` holds the bytes of every kind of state.
PLAN_NUMBERS = (
    "parameters", "parameter_bytes", "gradient_bytes", "optimizer_bytes", "master_bytes",
    "activation_bytes", "peak_bytes", "peak_bytes_without_checkpointing",
    "peak_bytes_with_checkpointing", "checkpoint_bytes", "flops_per_token", "device_bytes",
    "devices_state_sharded", "devices_all_sharded",
)  # fmt: skip


class ProgramError(RuntimeError):
    """The program is missing, ended with an error, or did not write what was asked for."""


def program() -> Path:
    return Path(os.environ.get("BLOCKWISE_PROGRAM", REPOSITORY / "build" / "release" / "blockwise"))


def run_program(arguments: Sequence[str], settings: Mapping[str, object]) -> None:
    """Runs the program in the repository, with a --set per setting; progress goes to stderr."""
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = _done([*arguments, *words], stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise ProgramError(f"{' '.join(done.args)}: exit code {done.returncode}")


def program_json(arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the program in the repository and returns the JSON object that it prints."""
    done = _done([*arguments, "--json"], capture_output=True)
    if done.returncode != 0:
        raise ProgramError(done.stderr.strip() or f"exit code {done.returncode}")
    try:
        value = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ProgramError(f"{arguments[0]}: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProgramError(f"{arguments[0]}: a JSON object was expected")
    return value


def _done(arguments: Sequence[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    if not program().is_file():
        raise ProgramError(f"there is no {program()}: `make build` makes it")
    command = [str(program()), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, text=True, **streams)


def read_plans(
    configs: Sequence[str | os.PathLike[str]], optimizers: Sequence[str] = OPTIMIZERS
) -> pd.DataFrame:
    """A row per configuration and optimizer, by size: `rule`, `family` (the file's folder), and the
    keys of `blockwise plan`: bytes, counts, and devices (0 where no number of them is enough).

    Every configuration must be one that the optimizers differ in by `optimizer.rule` alone.
    """
    rows = []
    for config in configs:
        for rule in optimizers:
            plan = program_json(["plan", str(config), "--set", f"optimizer.rule={rule}"])
            missing = [key for key in ("name", "optimizer", *PLAN_NUMBERS) if key not in plan]
            if missing:
                raise ProgramError(f"plan {config}: without {', '.join(missing)}")
            rows.append({"family": Path(config).parent.name, "rule": rule} | plan)
    table = pd.DataFrame(rows, columns=["name", "family", "rule", "optimizer", *PLAN_NUMBERS])
    return table.sort_values(["parameters", "name"], kind="stable", ignore_index=True)


def read_evaluation(
    model: str | os.PathLike[str], tokens: str | os.PathLike[str], sequence_length: int = 128
) -> dict[str, Any]:
    """`blockwise eval` of a Hugging Face folder or a run on a token file: loss and loss_by_position
    in nats per token, perplexity, bits_per_byte (None without a manifest) and the number of tokens.
    """
    return program_json(
        ["eval", "--model", str(model), "--tokens", str(tokens)]
        + ["--sequence-length", str(sequence_length)]
    )
