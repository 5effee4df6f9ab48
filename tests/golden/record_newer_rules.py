"""Records tests/golden/rules/*.safetensors of the rules of 2024 and later; see record_rules.py and
record_hidden_rules.py, whose packages and SOURCES it takes as well.

    golden/bin/pip install --no-deps badam==1.4
    golden/bin/python tests/golden/record_newer_rules.py SOURCES [RULE ...]

SOURCES also holds dayal-kalra/low-memory-adam bb3652c and microsoft/dion 0a059a4.
"""

import importlib
import json
import math
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from record_hidden_rules import SOURCES, beside, load, package_file
from record_rules import DECAY, HIDDEN, RATE, SHAPES, of_functions, record, record_formula


def mixed(x):
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def stream(place, number):
    """core/base/random_stream.hpp: seed 0, the stream of rules."""
    state = mixed(0)
    for part in (7, place, number):
        state = mixed(state ^ part)
    return torch.Generator().manual_seed(state)


def generator(name, number):
    """What blockwise draws with seed 0 for a parameter."""
    names = list(SHAPES)
    return stream(sum(math.prod(SHAPES[n]) for n in names[:names.index(name)]), number)


def alone(package, file, **modules):
    """One file of a package without the rest of transformers, which it hardly uses."""
    rest = {f"transformers.{name}": mock.MagicMock()
            for name in ("trainer_pt_utils", "trainer_utils", "utils")}
    with mock.patch.dict(sys.modules, {**rest, **modules}):
        return package_file(package, file)


def record_slim_adam():
    module = load("low-memory-adam/utils/slimadam.py", "slimadam")
    axes = {"table": (1,), "wide": (0,), "tall": (0,), "head": (1,)}

    def make(parameters):
        rules = Path("axes.json")
        rules.write_text(json.dumps(axes))
        optimizer = module.SlimAdamW(list(parameters.items()), lr=RATE, betas=(0.9, 0.95), eps=1e-8,
                                     weight_decay=DECAY, rules_json_path=rules)
        rules.unlink()
        for group in optimizer.param_groups:
            group["weight_decay"] = DECAY  # vectors have none there
        return [optimizer]

    record("slim_adam", "dayal-kalra/low-memory-adam bb3652c, SlimAdamW",
           {"fan_in": ["lm_head"], "fan_out": ["token_embedding", "other"]}, make)


class EachBlockAsLong:
    """BAdam as the paper has it: the package counts a step more before the first switch."""

    def __init__(self, inner):
        self.inner, self.param_groups = inner, inner.param_groups
        inner.global_step = -1

    def step(self):
        self.inner.step()


def badam(name, options, **more):
    layers = mock.MagicMock(ALL_LAYERNORM_LAYERS=[])
    integrations = mock.MagicMock(is_deepspeed_zero3_enabled=lambda: False)
    module = alone("badam", "block_optim", **{"transformers.pytorch_utils": layers,
                                              "transformers.integrations": integrations})

    def make(p):
        base = torch.optim.AdamW(p.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8,
                                 weight_decay=DECAY)
        return [EachBlockAsLong(module.BlockOptimizer(base, list(p.items()), **more))]

    record(name, "badam 1.4", {"rule": "badam", **options}, make)


def record_badam():
    badam("badam",
          {"switch_every": 3, "include_embedding": True, "include_head": True},
          switch_block_every=3, switch_mode="descending",
          block_prefix_list=[["table"], ["wide"], ["tall", "vector"], ["head"]])


def record_badam_random():
    # The package takes its orders from the end; here they are what blockwise draws with seed 0.
    draws = iter(range(100))
    plain, torch.randperm = torch.randperm, lambda count: plain(
        count, generator=stream(2**64 - 1, next(draws))).flip(0)
    badam("badam_random", {"switch_every": 2, "order": "random"},
          switch_block_every=2, switch_mode="random",
          block_prefix_list=[["wide"], ["tall", "vector"]])
    torch.randperm = plain


def adafactor_original(name, options, **more):
    module = alone("transformers", "optimization")
    record(name, "transformers 5.23.0, Adafactor", {"rule": "adafactor_original", **options},
           lambda p: [module.Adafactor(p.values(), lr=RATE, relative_step=False,
                                       weight_decay=DECAY, **more)])


def record_adafactor_original():
    adafactor_original("adafactor_original", {"rate": "learning_rate", "beta1": 0.9}, beta1=0.9)


def record_adafactor_unscaled():
    adafactor_original("adafactor_unscaled", {"rate": "learning_rate", "scale_parameter": False},
                       scale_parameter=False)


def record_adafactor_relative():
    peak = 0.6  # above 1 / sqrt(t) from the fourth step on

    def root_mean_square(x):
        return np.sqrt(np.mean(x**2))

    def rule(g, state, t, rate, w):
        keep, squares = 1 - t**-0.8, g**2 + 1e-30
        if g.ndim == 2:
            for axis in (0, 1):
                state[axis] = (keep * state.get(axis, 0.0)
                               + (1 - keep) * squares.mean(axis=axis, keepdims=True))
            v = state[0] * state[1] / state[1].mean()
        else:
            v = state["v"] = keep * state.get("v", 0.0) + (1 - keep) * squares
        u = g / np.sqrt(v)
        u /= max(1.0, root_mean_square(u))
        step = min(rate / RATE * peak, 1 / np.sqrt(t)) * max(1e-3, root_mean_square(w))
        return (1 - step * DECAY) * w - step * u

    record_formula("adafactor_relative", "Adafactor (arXiv 1804.04235, Algorithms 4 and 5)",
                   {"rule": "adafactor_original", "learning_rate": peak}, rule)


def record_dion():
    package = types.ModuleType("dion")
    package.__path__ = [str(SOURCES / "dion/dion")]
    sys.modules["dion"] = package
    with mock.patch.object(torch, "compile", lambda *_, **__: lambda function: function):
        module = importlib.import_module("dion.dion_reference")
    names = iter(HIDDEN)  # in the order in which the repository makes its state
    plain = torch.randn
    torch.randn = lambda shape, **_: plain(shape, generator=generator(next(names), 0))
    record("dion", "microsoft/dion 0a059a4, dion_reference.py", {"rank_fraction": 0.4},
           beside(lambda hidden: module.Dion(hidden, lr=RATE, weight_decay=DECAY, qr_method="qr",
                                             rank_fraction=0.4)))
    torch.randn = plain


def bfloat16(x):
    return torch.tensor(np.asarray(x, np.float32)).to(torch.bfloat16).double().numpy()


def record_micro_adam():
    window, density, block, error_block = 3, 0.2, 15, 8
    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def runs(x, length):
        return [slice(begin, min(begin + length, x.size)) for begin in range(0, x.size, length)]

    def rule(g, state, t, rate, w):
        a = g.ravel() + state.get("error", 0.0)
        kept = np.zeros_like(a)
        for run in runs(a, block):
            count = math.ceil(density * (run.stop - run.start))
            largest = run.start + np.argsort(-np.abs(a[run]))[:count]
            kept[largest] = bfloat16(a[largest])
            a[largest] = 0.0
        state["sets"] = [*state.get("sets", []), kept][-window:]
        state["error"] = np.zeros_like(a)
        for run in runs(a, error_block):
            least, largest = bfloat16(a[run].min()), bfloat16(a[run].max())
            unit = (largest - least) / 15
            if unit > 0:
                codes = np.clip(np.floor((a[run] - least) / unit + 0.5), 0, 15)
                state["error"][run] = least + codes * unit
            else:
                state["error"][run] = least
        ages = range(len(state["sets"]) - 1, -1, -1)
        m = sum(beta1**age * s for age, s in zip(ages, state["sets"]))
        v = sum(beta2**age * s**2 for age, s in zip(ages, state["sets"]))
        m *= (1 - beta1) / (1 - beta1**t)
        v *= (1 - beta2) / (1 - beta2**t)
        return (1 - rate * DECAY) * w - rate * (m / (np.sqrt(v) + eps)).reshape(w.shape)

    record_formula("micro_adam", "MicroAdam (arXiv 2405.15593, Algorithm 1; its package needs CUDA)",
                   {"window": window, "density": density, "block": block,
                    "error_block": error_block}, rule)


def adaptive_memory(name, denominator):
    memory, beta2, eps = 0.1, 0.999, 1e-8

    def rule(g, state, t, rate, w):
        if "d" in state:
            d = state["d"]
            past = np.sum((g + memory * d) * (g - d)) / np.sum((g - d)**2)
            past = min(1.0, max(0.0, past))
            state["d"] = ((past + memory) * d + (1 - past) * g) / (1 + memory)
        else:
            state["d"] = g
        state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
        root = np.sqrt(state["v"] / (1 - beta2**t)) + eps if denominator == "adam" else 1.0
        return (1 - rate * DECAY) * w - rate * state["d"] / root

    record_formula(name, "adaptive memory momentum (arXiv 2510.04988) as derived in its rule's file",
                   {"rule": "adaptive_memory", "denominator": denominator, "memory": memory}, rule)


def record_adaptive_memory():
    adaptive_memory("adaptive_memory", "adam")


def record_adaptive_memory_sgd():
    adaptive_memory("adaptive_memory_sgd", "none")


def ada_pm(name, second_moment):
    rank, beta1, beta2, eps = 2, 0.9, 0.95, 1e-8
    shapes = {shape: n for n, shape in SHAPES.items() if n in HIDDEN}

    def fitted(g, state):
        average = beta1 * state.get("kept", 0.0) + (1 - beta1) * g
        if "right" not in state:
            start = torch.randn((rank, g.shape[1]), generator=generator(shapes[g.shape], 0))
            state["right"] = start.double().numpy()
        left, _ = np.linalg.qr(average @ state["right"].T)
        state["right"] = left.T @ average
        state["kept"] = left @ state["right"]
        return left

    def rule(g, state, t, rate, w):
        bias = 1 - beta1**t
        if g.shape in shapes:
            left = fitted(g, state)
            m = state["kept"] / bias + g - left @ (left.T @ g)
        elif g.ndim == 2:
            m = g
        else:
            state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
            m = state["m"] / bias
        squares = g**2
        if second_moment == "row" and g.ndim == 2:
            squares = squares.mean(axis=1, keepdims=True)
        state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * squares
        return (1 - rate * DECAY) * w - rate * m / (np.sqrt(state["v"] / (1 - beta2**t)) + eps)

    record_formula(name, "what is published of AdaPM (arXiv 2510.09103) as its rule's file says",
                   {"rule": "ada_pm", "rank": rank, "low_rank": ["other"],
                    "without": ["token_embedding", "lm_head"],
                    "second_moment": second_moment}, rule)


def record_ada_pm():
    ada_pm("ada_pm", "element")


def record_ada_pm_rows():
    ada_pm("ada_pm_rows", "row")


if __name__ == "__main__":
    own = {name: function for name, function in globals().items()
           if getattr(function, "__module__", "") == "__main__"}
    of_functions(own, sys.argv[2:])
