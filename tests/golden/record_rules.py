"""Records tests/golden/rules/*.safetensors: all parameters after each of ten steps of a public
implementation of each rule, on the CPU in float32, and `inputs.safetensors`, the recording that all of
them start from (parameters, gradients, schedule and roles; see optimizers/recording.hpp).

    python3 -m venv golden
    golden/bin/pip install torch==2.13.0 numpy
    golden/bin/pip install --no-deps pytorch-optimizer==4.1.0 came-pytorch==0.1.3 lion-pytorch==0.2.5 \\
        lomo-optim==0.1.1
    golden/bin/python tests/golden/record_rules.py

A file's metadata says the reference and, as JSON, the options under which blockwise does the same.
Weight decay is 0.1 for every parameter; the rate is 0.01 times the schedule, which falls a little
every step. Where a reference is not a package it is written here from its paper's formulas, in
double, and the metadata says so.
"""

import json
import math
import struct
import sys
import types
from pathlib import Path

import numpy as np
import torch
from formula import formula

STEPS, RATE, DECAY = 10, 0.01, 0.1
# One matrix of each form, a vocabulary table, a head and a vector.
SHAPES = {"table": (5, 6), "wide": (4, 8), "tall": (8, 4), "vector": (7,), "head": (5, 6)}
ROLES = {"table": "token_embedding", "head": "lm_head"}
LAYERS = {"wide": "0", "tall": "1", "vector": "1"}
HIDDEN = ("wide", "tall")


def flat_parts(flat):
    ends = np.cumsum([math.prod(shape) for shape in SHAPES.values()])[:-1]
    return {name: part.reshape(shape).astype(np.float32)
            for (name, shape), part in zip(SHAPES.items(), np.split(flat, ends))}


SIZE = sum(math.prod(shape) for shape in SHAPES.values())
WEIGHTS = flat_parts(formula(1, SIZE) * 0.4)
# Magnitudes over four decades.
GRADIENTS = [flat_parts(formula(10 + step, SIZE) * np.exp2(-(np.arange(SIZE) % 13)))
             for step in range(STEPS)]
SCHEDULE = np.array([1.0 - 0.05 * step for step in range(STEPS)])


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, values in tensors.items():
        dtype = {"float32": "F32", "float64": "F64", "int64": "I64"}[str(values.dtype)]
        header[name] = {"dtype": dtype, "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def record(name, reference, options, make, draws=None):
    """make(parameters by name) gives optimizers; all of them step. draws: of all parameters, by key
    (see optimizers/recording.hpp), filled while they step."""
    parameters = {n: torch.nn.Parameter(torch.from_numpy(w.copy())) for n, w in WEIGHTS.items()}
    optimizers = make(parameters)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    tensors = {}
    for step in range(STEPS):
        for n, parameter in parameters.items():
            parameter.grad = torch.from_numpy(GRADIENTS[step][n].copy())
        for optimizer, rates in zip(optimizers, peaks):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * float(SCHEDULE[step])
            optimizer.step()
        for n, parameter in parameters.items():
            tensors[f"param/{step + 1}/{n}"] = parameter.detach().numpy().copy()
    save(name, reference, options, tensors | (draws or {}))


def record_formula(name, paper, options, rule):
    """rule(gradient, state, step, rate, weight): the new weight, all in double."""
    weights = {n: w.astype(np.float64) for n, w in WEIGHTS.items()}
    states = {n: {} for n in WEIGHTS}
    tensors = {}
    for step in range(STEPS):
        for n in weights:
            weights[n] = rule(GRADIENTS[step][n].astype(np.float64), states[n], step + 1,
                              RATE * SCHEDULE[step], weights[n])
            tensors[f"param/{step + 1}/{n}"] = weights[n].astype(np.float32)
    save(name, f"the formulas of {paper}, in double", options, tensors)


def save(name, reference, options, tensors):
    options = {"learning_rate": RATE, "weight_decay": DECAY, "no_decay": [], "gradient_clip": 0.0,
               "rule": name, **options}
    write_safetensors(Path(__file__).parent / "rules" / f"{name}.safetensors", tensors,
                      {"reference": reference, "optimizer": json.dumps(options)})


def write_inputs():
    tensors = {f"param/{n}": w for n, w in WEIGHTS.items()}
    for step in range(STEPS):
        tensors |= {f"grad/{step + 1}/{n}": g for n, g in GRADIENTS[step].items()}
    tensors["schedule"] = SCHEDULE
    write_safetensors(Path(__file__).parent / "rules" / "inputs.safetensors", tensors,
                      {f"role/{n}": role for n, role in ROLES.items()}
                      | {f"layer/{n}": layer for n, layer in LAYERS.items()})


def of_all(optimizer, **options):
    return lambda parameters: [optimizer(list(parameters.values()), lr=RATE, **options)]


def torch_version():
    return torch.__version__.split("+")[0]


def record_sgd():
    record("sgd", f"torch {torch_version()}, torch.optim.SGD",
           {"momentum": 0.9, "nesterov": True, "decay": "coupled"},
           of_all(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=DECAY))


def record_adafactor():
    record("adafactor", f"torch {torch_version()}, torch.optim.Adafactor", {},
           of_all(torch.optim.Adafactor, weight_decay=DECAY))


def record_lion():
    from lion_pytorch import Lion
    record("lion", "lion-pytorch 0.2.5", {}, of_all(Lion, weight_decay=DECAY))


def record_came():
    from came_pytorch import CAME
    record("came", "came-pytorch 0.1.3", {}, of_all(CAME, weight_decay=DECAY))


def record_sm3():
    from pytorch_optimizer import SM3
    # Its average of accumulators is off, as in the paper; it has no decay.
    record("sm3", "pytorch-optimizer 4.1.0, SM3(beta=0)", {"momentum": 0.9, "weight_decay": 0.0},
           of_all(SM3, momentum=0.9, foreach=False))


def record_stable_adamw():
    from pytorch_optimizer import StableAdamW
    # Its form over many tensors takes the second moment before the step; this one the new one.
    record("stable_adamw", "pytorch-optimizer 4.1.0, StableAdamW(foreach=False)", {},
           of_all(StableAdamW, weight_decay=DECAY, foreach=False))


def record_nadamw():
    beta1, beta2, eps = 0.9, 0.95, 1e-8

    def rule(g, state, t, rate, w):
        state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
        state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
        ahead = (beta1 * state["m"] + (1 - beta1) * g) / (1 - beta1**t)
        return (1 - rate * DECAY) * w - rate * ahead / (np.sqrt(state["v"] / (1 - beta2**t)) + eps)

    record_formula("nadamw", "the AlgoPerf baseline (arXiv 2306.07179)", {}, rule)


def factors_of(n, count):
    """n as at most `count` factors above 1, each the largest that is at most its root."""
    found = []
    while count > 1 and n > 1:
        factor = max(d for d in range(1, n + 1) if n % d == 0 and d**count <= n)
        found += [factor] if factor > 1 else []
        n, count = n // factor, count - 1
    return found + ([n] if n > 1 else [])


def record_extreme_tensoring():
    eps = 1e-8

    def rule(g, state, t, rate, w):
        lengths = [f for side in g.shape for f in factors_of(side, 2)]
        tensor = g.reshape(lengths)
        scale = np.ones_like(tensor)
        for axis, length in enumerate(lengths):
            others = tuple(a for a in range(len(lengths)) if a != axis)
            state[axis] = state.get(axis, 0.0) + (tensor**2).sum(axis=others)
            shape = [1] * len(lengths)
            shape[axis] = length
            scale = scale * state[axis].reshape(shape)
        step = tensor * (scale + eps) ** (-1 / (2 * len(lengths)))
        return (1 - rate * DECAY) * w - rate * step.reshape(g.shape)

    record_formula("extreme_tensoring", "Extreme Tensoring (arXiv 1902.04620, Algorithm 1)",
                   {"factors_per_axis": 2}, rule)


def block_length(squares):
    """Gefen 1.1.1: the divisor where the deviation within blocks drops most from the one before."""
    drops, before = [(1e-12, 1)], 0.0
    for p in [d for d in range(2, squares.size) if squares.size % d == 0]:
        error = math.sqrt(squares.reshape(-1, p).var(axis=1).mean())
        drops.append((error - before, p))
        before = error
    best = min(drops)[1]
    return 1 if best < 8 else best


def gefen(name, options, second_moment):
    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def rule(g, state, t, rate, w):
        state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
        v = second_moment(g, state, beta2) / (1 - beta2**t)
        return (1 - rate * DECAY) * w - rate * state["m"] / (1 - beta1**t) / (np.sqrt(v) + eps)

    record_formula(name, "Gefen (arXiv 2606.13894), with m in full precision", options, rule)


def by_blocks(g, state, beta2):
    squares = (g * g).reshape(-1)
    p = state.setdefault("p", block_length(squares))
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * squares.reshape(-1, p).mean(axis=1)
    return np.repeat(state["v"], p).reshape(g.shape)


def by_factors(g, state, beta2):
    if g.ndim == 1:
        return by_blocks(g, state, beta2)
    state["r"] = beta2 * state.get("r", 0.0) + (1 - beta2) * (g * g).mean(axis=1)
    state["c"] = beta2 * state.get("c", 0.0) + (1 - beta2) * (g * g).mean(axis=0)
    return np.outer(state["r"], state["c"]) / state["r"].mean()


def record_gefen():
    gefen("gefen", {"blocks": "variance"}, by_blocks)


def record_gefen_factored():
    gefen("gefen_factored", {"rule": "gefen", "blocks": "variance", "second_moment": "factored"},
          by_factors)


def record_rmnp_hyperball():
    def rule(g, state, t, rate, w):
        if w.shape not in [SHAPES[name] for name in HIDDEN]:
            return adamw(g, state, t, rate, w)
        state["m"] = 0.95 * state.get("m", 0.0) + 0.05 * g
        u = 0.05 * g + 0.95 * state["m"]
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        norm = np.linalg.norm(w)
        w = w - rate * norm * u / np.linalg.norm(u)
        return w * norm / np.linalg.norm(w)

    record_formula("rmnp_hyperball", "RMNP (arXiv 2603.20527) under AdamH's projection",
                   {"rule": "rmnp", "hyperball": True}, rule)


def adamw(g, state, t, rate, w, beta1=0.9, beta2=0.95, eps=1e-8):
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
    root = np.sqrt(state["v"] / (1 - beta2**t)) + eps
    return (1 - rate * DECAY) * w - rate * state["m"] / (1 - beta1**t) / root


# E4M3's positive values: exponents 1 - 7 .. 15 - 7 with 3 bits behind the point, subnormals of 2^-9;
# the last code is no number.
E4M3 = np.array(sorted([k * 2.0**-9 for k in range(8)]
                       + [(1 + k / 8) * 2.0**(e - 7) for e in range(1, 16) for k in range(8)])[:-1])


def to_e4m3(x):
    """To the nearest of them, ties to an even code."""
    above = np.clip(np.searchsorted(E4M3, np.abs(x)), 1, len(E4M3) - 1)
    low, high = E4M3[above - 1], E4M3[above]
    up = (np.abs(x) - low > high - np.abs(x)) | (
        (np.abs(x) - low == high - np.abs(x)) & (above % 2 == 0))
    return np.copysign(np.where(up, high, low), x)


def scaled(x, largest, rounding):
    most = np.abs(x).max()
    scale = 2.0**math.floor(math.log2(largest / most)) if most > 0 else 1.0
    return rounding(x * scale) / scale


def record_fp8_adamw():
    beta1, beta2, eps = 0.9, 0.95, 1e-8

    def to_half(x):
        return x.astype(np.float16).astype(np.float64)

    def rule(g, state, t, rate, w):
        m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
        v = beta2 * state.get("v", 0.0) + (1 - beta2) * g * g
        w = (1 - rate * DECAY) * w
        w = w - rate * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
        state["m"], state["v"] = scaled(m, 448, to_e4m3), scaled(v, 65504, to_half)
        return scaled(w, 65504, to_half)

    record_formula("fp8_adamw", "FP8-LM (arXiv 2310.18313), as MS-AMP's source has them", {}, rule)


class AdaLomoSteps:
    """The package's step, which runs in hooks of the backward pass, as an optimizer."""

    def __init__(self, parameters):
        from lomo_optim.adalomo import AdaLomo
        model = torch.nn.Module()
        for name, parameter in parameters.items():
            model.register_parameter(name, parameter)
        torch.Tensor.cuda = lambda tensor: tensor  # where it keeps its state
        self.parameters = parameters
        self.inner = AdaLomo(model, lr=RATE, weight_decay=DECAY)
        self.param_groups = [{"lr": RATE}]

    def step(self):
        gradients = {n: p.grad for n, p in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.grad = None
        loss = sum((p * gradients[n]).sum() for n, p in self.parameters.items())
        self.inner.fused_backward(loss, self.param_groups[0]["lr"])


def record_adalomo():
    record("adalomo", "lomo-optim 0.1.1, AdaLomo", {}, lambda parameters: [AdaLomoSteps(parameters)])


def of_functions(functions, wanted):
    """Runs record_NAME() for the names, or for all."""
    for name, function in sorted(functions.items()):
        rule = name.removeprefix("record_")
        if rule == name or rule == "formula" or not isinstance(function, types.FunctionType):
            continue
        if not wanted or rule in wanted:
            function()


if __name__ == "__main__":
    write_inputs()
    of_functions(globals(), sys.argv[1:])
