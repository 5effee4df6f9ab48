"""What the program says as JSON: memory plans of configurations and evaluations of checkpoints.

    plans = read_plans(["configs/gpt2/125m.yaml", "configs/llama/1b.yaml"])
    evaluation = read_evaluation("path/to/checkpoint", "data/austen-byte/validation.bin")

Nothing is trained or downloaded; a plan needs no data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .program import ProgramError, program_json

OPTIMIZERS = ("adamw", "adam_mini")

# Columns of a plan that are counts or bytes; `optimizer` holds the bytes of every kind of state.
PLAN_NUMBERS = (
    "parameters", "parameter_bytes", "gradient_bytes", "optimizer_bytes", "master_bytes",
    "activation_bytes", "peak_bytes", "peak_bytes_without_checkpointing",
    "peak_bytes_with_checkpointing", "checkpoint_bytes", "flops_per_token", "device_bytes",
    "devices_state_sharded", "devices_all_sharded",
)  # fmt: skip


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
