"""`blockwise plan` itself: published optimizer state, and every configuration of the repository."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from conftest import REPOSITORY

from studies.program import program, program_json

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))

# Optimizer state in GB (10^9 bytes) in the table of Zhang et al., arXiv 2406.16793: AdamW and
# Adam-mini. Their GPT-2 has the biases of Hugging Face's gpt2-xl.
PUBLISHED = [
    ("gpt2/1.5b", ["model.bias=true"], 12.46, 6.24),
    ("llama/7b", [], 53.92, 26.96),
    ("llama/llama3-8b", [], 64.24, 32.12),
    ("llama/13b", [], 104.13, 52.07),
]

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")


def optimizer_gigabytes(size: str, rule: str, settings: list[str]) -> float:
    arguments = ["plan", f"configs/{size}.yaml"]
    for setting in [f"optimizer.rule={rule}", *settings]:
        arguments += ["--set", setting]
    plan = program_json(arguments)
    return (plan["optimizer_bytes"] - plan["master_bytes"]) / 1e9  # published without the masters


@pytest.mark.parametrize(("size", "settings", "adamw", "adam_mini"), PUBLISHED)
def test_optimizer_state_is_the_published_one(
    size: str, settings: list[str], adamw: float, adam_mini: float
) -> None:
    assert optimizer_gigabytes(size, "adamw", settings) == pytest.approx(adamw, rel=1e-3)
    assert optimizer_gigabytes(size, "adam_mini", settings) == pytest.approx(adam_mini, rel=1e-3)


def test_there_are_configurations() -> None:
    assert len(CONFIGS) >= 30


def settings_without_corpus(path: Path) -> list[str]:
    """Sizes that a file leaves to the byte corpus, which need not be there."""
    text = path.read_text(encoding="utf-8")
    if "-byte/train.bin" not in text or "vocab_size" in text:
        return []
    return ["--set", "model.vocab_size=256", "--set", "model.block_size=256"]


def by_name(path: Path) -> object:
    return pytest.param(path, id=f"{path.parent.name}-{path.stem}")


@pytest.mark.parametrize("path", [by_name(path) for path in CONFIGS])
def test_every_configuration_plans_in_seconds(path: Path) -> None:
    begin = time.monotonic()
    name = str(path.relative_to(REPOSITORY))
    plan = program_json(["plan", name, *settings_without_corpus(path)])
    assert time.monotonic() - begin < 10  # half a second on an idle core, which a test has not
    parts = ["parameter_bytes", "gradient_bytes", "optimizer_bytes"]
    assert plan["peak_bytes"] == sum(plan[part] for part in [*parts, "activation_bytes"])
    assert plan["peak_bytes_with_checkpointing"] > 0
    if path.stem not in ("mlp-gaussian", "transformer-exact"):  # one layer has nothing to save
        assert plan["peak_bytes_with_checkpointing"] <= plan["peak_bytes_without_checkpointing"]


def main_loops() -> dict[str, set[tuple[int, int, int]]]:
    """What the check of the disassembly requires of every CUDA kernel's main loops."""
    path = REPOSITORY / "tests/optimizers/kernels/check_device_code.py"
    spec = importlib.util.spec_from_file_location("check_device_code", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    loops: dict[str, set[tuple[int, int, int]]] = module.MAIN_LOOPS
    return loops


@pytest.mark.parametrize(
    ("rule", "kernel", "loop"),
    [
        ("adamw", "AdamRule", max),  # a second moment per element
        ("adam_mini", "AdamRule", min),
        ("lion", "LionRule", min),
        ("sgd_momentum", "MomentumRule", min),
        ("sgd", "DescentRule", min),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_moves_what_the_cuda_kernels_do(
    rule: str, kernel: str, loop: Callable[[Iterable[int]], int], precision: str
) -> None:
    loops = main_loops()
    copies = " copies" if precision == "bf16" else ""
    # Accesses of 16 bytes, and stores of 8, for four elements.
    update = loop(4 * (loads + stores) + 2 * halves for loads, stores, halves in loops[f"update {kernel}{copies}"])
    squares = max(4 * loads for loads, _, _ in loops["squares"])
    sets = [f"optimizer.rule={rule}", f"trainer.precision={precision}"]
    words = ["plan", "configs/ladder/gpt2-125m.yaml"]
    for setting in sets:
        words += ["--set", setting]
    plan = program_json(words)
    # Adam-mini's blocks and vectors: one value for some hundred elements.
    assert plan["step_bytes"] / plan["parameters"] == pytest.approx(update + squares, rel=2e-3)
