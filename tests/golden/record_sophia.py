"""Records tests/golden/rules/sophia_g.safetensors; see record_rules.py and record_hidden_rules.py.

    golden/bin/python tests/golden/record_sophia.py SOURCES

SOURCES/Sophia is a checkout of Liuhong99/Sophia a7e1572. Gradients of sampled labels are made by
formula; what blockwise is given before steps 1, 5 and 9 is their square times the number of labels,
by which the reference multiplies its average in the step.
"""

import sys

import numpy as np
import torch
from formula import formula
from record_hidden_rules import load
from record_rules import DECAY, RATE, SIZE, flat_parts, of_functions, record

EVERY, LABELS = 4, 5120


class WithCurvature:
    def __init__(self, inner, parameters, recorded):
        self.inner, self.parameters, self.recorded = inner, parameters, recorded
        self.param_groups, self.steps = inner.param_groups, 0

    def step(self):
        if self.steps % EVERY == 0:
            self.learn()
        self.inner.step(bs=LABELS)
        self.steps += 1

    def learn(self):
        scale = np.exp2(-((np.arange(SIZE) * 5) % 13))
        sampled = flat_parts(formula(100 + self.steps, SIZE) * scale)
        gradients = {n: p.grad for n, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = torch.from_numpy(sampled[name])
            estimate = np.float32(LABELS) * sampled[name] ** 2
            self.recorded[f"curvature/{self.steps + 1}/{name}"] = estimate
        self.inner.update_hessian()
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]


def record_sophia_g():
    module, recorded = load("Sophia/sophia.py", "sophia"), {}

    def make(parameters):
        inner = module.SophiaG(list(parameters.values()), lr=RATE, weight_decay=DECAY)
        return [WithCurvature(inner, parameters, recorded)]

    record("sophia_g", "Liuhong99/Sophia a7e1572", {"curvature_every": EVERY}, make, recorded)


if __name__ == "__main__":
    of_functions(globals(), sys.argv[2:])
