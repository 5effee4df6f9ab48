"""Learned optimizers: the per-parameter networks of optimizers/rules/learned.cpp, and their training.

    .venv/bin/python -m studies.learned_optimizer adafactor_mlp weights.safetensors
    blockwise train X.yaml --set optimizer.rule=adafactor_mlp --set optimizer.weights=weights.safetensors

It needs torch and no other package. The features are those of AdafacMLPLOpt and
MLPLOpt (Metz et al., arXiv 2203.11860 and 1810.10180). Training is by gradients through the steps:
small classification tasks, drawn anew, are trained for `horizon` steps, cut into pieces of `unroll`
steps; the objective is the mean logarithm of the loss over a piece.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
from pathlib import Path

import torch
from torch import Tensor

Weights = dict[str, Tensor]
State = dict[str, Tensor]

TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)
RATE = 1e-3  # optimizer.learning_rate at which steps are as they were trained
DECAYS = {"adafactor_mlp": (0.9, 0.99, 0.999), "mlp_lopt": (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)}
SIZES = {"adafactor_mlp": (39, 4, 4, 2), "mlp_lopt": (19, 32, 32, 2)}


def averaged(state: State, key: str, x: Tensor, decays: Tensor) -> Tensor:
    """x [...] into the averages of `key`, [..., decays]."""
    old = state.get(key, torch.zeros((*x.shape, len(decays)), dtype=x.dtype))
    state[key] = decays * old + (1 - decays) * x[..., None]
    return state[key]


def shifted(decays: tuple[float, ...], weights: Weights, key: str, like: Tensor) -> Tensor:
    """1 - (1 - beta) e^(10 x), x the learned shift, 0 where there is none."""
    beta = torch.tensor(decays, dtype=like.dtype)
    shift = weights.get(key, torch.zeros(len(decays))).to(like.dtype)
    return 1 - (1 - beta) * torch.exp(10 * shift)


def factored(g: Tensor, m: Tensor, weights: Weights, state: State) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The gradient and the momenta in Adafactor's units, and the features of its moments."""
    decays = shifted(DECAYS["adafactor_mlp"], weights, "adafactor_decays", g)
    squares = g * g + 1e-30
    if g.ndim < 2:
        v = averaged(state, "v", squares, decays)
        root = (v + 1e-8).rsqrt()
        return g[..., None] * (v + 1e-9).rsqrt(), m * (v + 1e-6).rsqrt(), [v, v, root, root]
    largest = 1 if g.shape[1] >= g.shape[0] else 0
    row = averaged(state, "row", squares.mean(dim=largest), decays)
    col = averaged(state, "col", squares.mean(dim=1 - largest), decays)
    of_row = (row / (row.mean(dim=0, keepdim=True) + 1e-9)).clamp_min(1e-9).rsqrt().unsqueeze(largest)
    of_col = col.clamp_min(1e-9).rsqrt().unsqueeze(1 - largest)
    factor = of_row * of_col
    rows = row.unsqueeze(largest).expand(*g.shape, -1)
    cols = col.unsqueeze(1 - largest).expand(*g.shape, -1)
    moments = [rows, cols, (rows + 1e-8).rsqrt(), (cols + 1e-8).rsqrt()]
    return g[..., None] * factor, m * factor, moments


def features(rule: str, weights: Weights, g: Tensor, p: Tensor, state: State) -> Tensor:
    """[..., features] before they are normalized."""
    if rule == "mlp_lopt":
        decays = torch.tensor(DECAYS[rule], dtype=g.dtype)
        return torch.cat([g[..., None], p[..., None], averaged(state, "m", g, decays)], dim=-1)
    m = averaged(state, "m", g, shifted(DECAYS[rule], weights, "momentum_decays", g))
    v = averaged(state, "rms", g * g, shifted((0.999,), weights, "rms_decays", g))
    root = (v + 1e-6).rsqrt()
    of_g, of_m, moments = factored(g, m, weights, state)
    return torch.cat([g[..., None], p[..., None], m, v, m * root, root, of_g, *moments, of_m], dim=-1)


def change(rule: str, weights: Weights, g: Tensor, p: Tensor, state: State, t: int) -> Tensor:
    """What is subtracted from p at learning rate 1; t counts from 0."""
    x = features(rule, weights, g, p, state)
    over = tuple(range(p.ndim))
    x = x * (1e-5 + (x * x).mean(dim=over, keepdim=True)).rsqrt()
    time = torch.tanh(t / torch.tensor(TIMESCALES, dtype=g.dtype) - 1)
    x = torch.cat([x, time.expand(*p.shape, -1)], dim=-1)
    last = len(SIZES[rule]) - 2
    for layer in range(last + 1):
        x = x @ weights[f"w{layer}"].to(g.dtype) + weights[f"b{layer}"].to(g.dtype)
        x = torch.relu(x) if layer < last else x
    return x[..., 0] * torch.exp(1e-3 * x[..., 1])


def first_weights(rule: str, seed: int) -> Weights:
    """Truncated normal, 1 / sqrt(inputs), but for one pair of units that carry a momentum through."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    sizes = SIZES[rule]
    for layer, (into, out) in enumerate(zip(sizes, sizes[1:])):
        drawn = torch.empty(into, out)
        torch.nn.init.trunc_normal_(drawn, 0.0, 1.0, -2.0, 2.0, generator=generator)
        weights[f"w{layer}"] = 0.1 * drawn / math.sqrt(into)
        weights[f"b{layer}"] = torch.zeros(out)
    momentum = 6 if rule == "adafactor_mlp" else 4
    for unit, sign in ((0, 1.0), (1, -1.0)):
        weights["w0"][momentum, unit] = sign
        weights["w1"][:, unit] *= 0.1
        weights["w1"][unit, unit] = 1.0
        weights["w2"][unit, 0] = sign * 2.0
    if rule == "adafactor_mlp":
        weights["momentum_decays"] = torch.zeros(3)
        weights["rms_decays"] = torch.zeros(1)
        weights["adafactor_decays"] = torch.zeros(3)
    return weights


class Task:
    """Classes of a random teacher, learned by a network with one hidden layer."""

    def __init__(self, generator: torch.Generator) -> None:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        inputs, hidden, classes = 8, 16, 4
        self.x = draw(256, inputs)
        self.y = (torch.tanh(self.x @ draw(inputs, 8)) @ draw(8, classes)).argmax(dim=1)
        scale = math.exp(float(draw(1)) * 0.5)  # so that gradients have other sizes
        self.p = [draw(hidden, inputs) * scale / math.sqrt(inputs), torch.zeros(hidden),
                  draw(classes, hidden) / math.sqrt(hidden), torch.zeros(classes)]
        self.generator = generator
        self.states: list[State] = [{} for _ in self.p]
        self.t = 0

    def loss(self, p: list[Tensor]) -> Tensor:
        pick = torch.randint(0, len(self.x), (64,), generator=self.generator)
        hidden = torch.relu(self.x[pick] @ p[0].T + p[1])
        return torch.nn.functional.cross_entropy(hidden @ p[2].T + p[3], self.y[pick])

    def unroll(self, rule: str, weights: Weights, steps: int) -> Tensor:
        """The mean of ln(loss + 0.01) over the next steps, differentiable by the weights."""
        p = [x.detach() for x in self.p]
        states = [{k: v.detach() for k, v in state.items()} for state in self.states]
        total = torch.zeros(())
        for _ in range(steps):
            at = [x.detach().requires_grad_() for x in p]
            gradients = torch.autograd.grad(self.loss(at), at)
            p = [x - RATE * change(rule, weights, g, x, state, self.t)
                 for x, g, state in zip(p, gradients, states)]
            self.t += 1
            total = total + torch.log(self.loss(p) + 0.01)
        self.p, self.states = p, states
        return total / steps


def train(rule: str, seed: int, rounds: int, horizon: int, unroll: int, batch: int) -> Weights:
    weights = {k: v.requires_grad_() for k, v in first_weights(rule, seed).items()}
    optimizer = torch.optim.Adam(weights.values(), lr=3e-3)
    generator = torch.Generator().manual_seed(seed + 1)
    for number in range(rounds):
        tasks = [Task(generator) for _ in range(batch)]
        for _ in range(horizon // unroll):
            objective = torch.stack([task.unroll(rule, weights, unroll) for task in tasks]).mean()
            optimizer.zero_grad()
            objective.backward()
            norm = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            if torch.isfinite(norm):
                optimizer.step()
        if number % 10 == 0 or number + 1 == rounds:
            print(f"round {number}: mean ln loss of the last piece {float(objective.detach()):.3f}", flush=True)
    return {k: v.detach() for k, v in weights.items()}


def write_weights(path: Path, weights: Weights, rule: str) -> None:
    header: dict[str, object] = {"__metadata__": {"rule": rule}}
    data = b""
    for name, values in weights.items():
        part = values.to(torch.float32).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_constants(path: Path, weights: Weights, rule: str) -> None:
    """The numbers for optimizers/rules/learned_weights.inc, rounded to 4 digits."""
    lines = [f"// {rule}: written by notebooks/studies/learned_optimizer.py"]
    for name, values in weights.items():
        numbers = [f"{float(x):.4g}" for x in values.reshape(-1)]
        shape = ", ".join(str(n) for n in values.shape)
        lines.append(f'{{"{name}", {{{shape}}}, {{{", ".join(numbers)}}}}},')
    path.write_text("\n".join(lines) + "\n")


def read_constants(path: Path) -> Weights:
    """What write_constants() wrote."""
    weights = {}
    for line in path.read_text().splitlines()[1:]:
        name, shape, values = json.loads(line.rstrip(",").replace("{", "[").replace("}", "]"))
        weights[name] = torch.tensor(values, dtype=torch.float64).reshape(shape)
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rule", choices=sorted(SIZES))
    parser.add_argument("output", type=Path, help="safetensors, or .inc for C++ constants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--horizon", type=int, default=200, help="steps of a task")
    parser.add_argument("--unroll", type=int, default=20, help="steps that gradients go through")
    parser.add_argument("--batch", type=int, default=4, help="tasks of a round")
    arguments = parser.parse_args()
    options = vars(arguments)
    rule, output = options.pop("rule"), options.pop("output")
    weights = train(rule, **options)
    write = write_constants if output.suffix == ".inc" else write_weights
    write(output, weights, rule)


if __name__ == "__main__":
    main()
