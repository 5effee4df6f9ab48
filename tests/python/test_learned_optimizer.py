"""The meta-training of learned optimizers, and that the program steps as the weights say."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from studies.learned_optimizer import (
    SIZES,
    Task,
    Weights,
    change,
    first_weights,
    main,
    read_constants,
    train,
    write_constants,
    write_weights,
)
from studies.program import program

RULES = sorted(SIZES)


def read_tensors(path: Path) -> Weights:
    """Of a safetensors file in float32."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + place for place in entry["data_offsets"])
        values = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def mean_log_loss(rule: str, weights: Weights, tasks: int, steps: int) -> float:
    """On tasks that no training saw."""
    generator = torch.Generator().manual_seed(1000)
    losses = [Task(generator).unroll(rule, weights, steps) for _ in range(tasks)]
    return float(torch.stack(losses).mean().detach())


@pytest.mark.parametrize("rule", RULES)
def test_training_makes_it_better_on_tasks_that_it_did_not_see(rule: str) -> None:
    trained = train(rule, seed=0, rounds=6, horizon=40, unroll=10, batch=2)
    before = mean_log_loss(rule, first_weights(rule, seed=0), tasks=4, steps=40)
    assert mean_log_loss(rule, trained, tasks=4, steps=40) < before - 0.02


def test_training_is_a_function_of_its_seed() -> None:
    runs = [train("mlp_lopt", seed, rounds=1, horizon=10, unroll=5, batch=1) for seed in (3, 3, 4)]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not torch.equal(runs[0]["w0"], runs[2]["w0"])


def test_constants_come_back_as_four_digits(tmp_path: Path) -> None:
    weights = first_weights("adafactor_mlp", seed=5)
    write_constants(tmp_path / "weights.inc", weights, "adafactor_mlp")
    back = read_constants(tmp_path / "weights.inc")
    assert list(back) == list(weights)
    for name, values in weights.items():
        assert torch.allclose(back[name].float(), values, rtol=6e-4, atol=0.0)


@pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")
@pytest.mark.parametrize("rule", RULES)
def test_the_program_steps_as_the_trained_weights_say(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_file, recording = tmp_path / "weights.safetensors", tmp_path / "recorded.safetensors"
    small = ["--rounds", "1", "--horizon", "8", "--unroll", "4", "--batch", "1"]
    monkeypatch.setattr(sys, "argv", ["learned_optimizer", rule, str(weights_file), *small])
    main()
    weights = read_tensors(weights_file)
    generator = torch.Generator().manual_seed(7)
    p = {"w": torch.randn(4, 6, generator=generator), "b": torch.randn(6, generator=generator)}
    recorded = {f"param/{name}": values.clone() for name, values in p.items()}
    states: dict[str, dict] = {name: {} for name in p}
    for step in range(3):
        for name, values in p.items():
            g = torch.randn(values.shape, generator=generator)
            recorded[f"grad/{step + 1}/{name}"] = g
            p[name] = values - 0.1 * change(rule, weights, g, values, states[name], step)
    write_weights(recording, recorded, rule)
    output = tmp_path / "replayed.safetensors"
    words = ["replay", recording, "--rule", rule, "--output", output]
    words += ["--set", f"weights={weights_file}", "--set", "learning_rate=0.1"]
    words += ["--set", "weight_decay=0"]
    subprocess.run([program(), *words], check=True, capture_output=True)
    replayed = read_tensors(output)
    for name, values in p.items():
        # Float32 on both sides, some ten operations and sums of 39 products.
        assert torch.allclose(replayed[f"param/3/{name}"], values, rtol=1e-5, atol=1e-6)
