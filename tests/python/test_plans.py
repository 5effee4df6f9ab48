"""`blockwise plan` itself: published optimizer state, and every configuration of the repository."""

from __future__ import annotations

import time
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
