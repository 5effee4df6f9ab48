"""Records tests/golden/rules/*.safetensors of rules that take hidden matrices and leave the rest to
AdamW; see record_rules.py.

    golden/bin/pip install --no-deps apollo-torch==1.0.3 galore-torch==1.0 fira==1.0.2 ptwt==1.0.1 \\
        PyWavelets==1.9.0 transformers==5.23.0
    golden/bin/python tests/golden/record_hidden_rules.py SOURCES [RULE ...]

SOURCES holds checkouts of what is in no package, by the repository's name: zichongli5/NorMuon d45c9a4,
Dominator-Index/RMNP a662ebc, OptimAI-Lab/Minimalist_LLM_Pretraining f5bd4e7, zqOuO/GWT 58b8ccc,
zqOuO/FOAM 13769c7, fzmushko/FRUGAL c7ebe4c, IST-DASLab/LDAdam f3c5daf, nikhilvyas/SOAP a1e5535.

`table`, `head` and `vector` have torch.optim.AdamW beside the rule, where a rule does not take them
itself. What a rule draws, from its own generator, is recorded. Muon's kin multiply in bfloat16; here
the conversion to it is taken out. Every singular vector's largest component is made positive.
"""

import importlib
import importlib.util
import math
import sys
import types
from pathlib import Path

import pywt
import torch
from record_rules import DECAY, HIDDEN, RATE, SHAPES, of_functions, record

SOURCES = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


def load(path, name, **modules):
    """One file of a checkout, with what it imports from `modules`."""
    sys.modules.update(modules)
    spec = importlib.util.spec_from_file_location(name, SOURCES / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def package_file(package, file):
    """One file of an installed package whose own start asks for more than that."""
    if package not in sys.modules:
        found = importlib.util.find_spec(package)
        stub = types.ModuleType(package)
        stub.__path__ = list(found.submodule_search_locations)
        sys.modules[package] = stub
    return importlib.import_module(f"{package}.{file}")


class Draws(dict):
    """What a rule draws, by the keys of a recording: random/DRAW/NAME."""

    def add(self, name, values):
        number = sum(key.endswith("/" + name) for key in self) + 1
        self[f"random/{number}/{name}"] = values.numpy().copy()
        return values


def rest(parameters, names=("table", "vector", "head")):
    return torch.optim.AdamW([parameters[n] for n in names], lr=RATE, betas=(0.9, 0.95), eps=1e-8,
                             weight_decay=DECAY)


def beside(make):
    """make(hidden parameters, in order): an optimizer."""
    return lambda parameters: [make([parameters[n] for n in HIDDEN]), rest(parameters)]


def with_signs(basis, right):
    along = 1 if right else 0
    largest = basis.gather(along, basis.abs().argmax(along, keepdim=True))
    return basis * torch.where(largest < 0, -1.0, 1.0)


def record_normuon():
    module = load("NorMuon/normuon.py", "normuon")
    plain, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, torch.Tensor.clone
    record("normuon", "zichongli5/NorMuon d45c9a4, in float32",
           {"newton_schulz_type": "float32", "rate_scale": "original"},
           beside(lambda hidden: module.SingleDeviceNorMuon(hidden, lr=RATE, weight_decay=DECAY)))
    torch.Tensor.bfloat16 = plain


def record_rmnp():
    module = load("RMNP/LLaMA/optimizers/RMNP_optimizer.py", "rmnp_llama")
    record("rmnp", "Dominator-Index/RMNP a662ebc, LLaMA", {},
           beside(lambda hidden: module.RMNP_Grouped(
               [{"params": hidden, "lr": RATE, "weight_decay": DECAY}])))


def record_scale():
    module = load("Minimalist_LLM_Pretraining/mem_eff_pt/pt_scale/scale_optimizer.py", "scale")

    def make(p):
        return [module.SCALE(lr=RATE, wd=DECAY, main_params=[p["table"], p["wide"], p["tall"]],
                             secondary_params=[p["head"]], id_to_name=Names(p)),
                rest(p, ["vector"])]

    class Names(dict):
        def __init__(self, p):
            super().__init__({id(x): "embed_tokens" if n == "table" else n for n, x in p.items()})

    record("scale", "OptimAI-Lab/Minimalist_LLM_Pretraining f5bd4e7", {}, make)


def record_fira():
    module = package_file("fira", "fira_adamw")
    projector = sys.modules["fira.gradient_projection"].GradientProjector
    plain = projector.get_orthogonal_matrix
    projector.get_orthogonal_matrix = lambda self, g, rank, type: with_signs(
        plain(self, g, rank, type), type == "right")
    record("fira", "fira 1.0.2", {"rank": 2, "update_every": 4},
           beside(lambda hidden: module.AdamW(
               [{"params": hidden, "rank": 2, "update_proj_gap": 4, "alpha": 0.25,
                 "proj_type": "std"}], lr=RATE, weight_decay=DECAY, no_deprecation_warning=True)))


def apollo(name, options, group, **more):
    module = package_file("apollo_torch", "apollo")
    projections = sys.modules["apollo_torch.random_projector"]
    draws, plain = Draws(), projections.stable_randn

    def recorded(shape, **how):
        # The shape tells which parameter's it is.
        parameter = "wide" if shape[0] == SHAPES["wide"][0] else "tall"
        return draws.add(parameter, plain(shape, **how))

    projections.stable_randn = recorded
    record(name, "apollo-torch 1.0.3", options,
           beside(lambda hidden: module.AdamW(
               [{"params": hidden, "update_proj_gap": 4, "proj": "random", "proj_type": "std",
                 **group}], lr=RATE, weight_decay=DECAY, **more)), draws)
    projections.stable_randn = plain


def record_apollo():
    apollo("apollo", {"rank": 3, "update_every": 4},
           {"rank": 3, "scale": 1, "scale_type": "channel"})


def record_apollo_mini():
    apollo("apollo_mini", {"update_every": 4, "scale_front": True},
           {"rank": 1, "scale": 128, "scale_type": "tensor"}, scale_front=True)


def record_foam():
    module = load("FOAM/foam_torch/foam_adam.py", "foam_adam")
    record("foam", "zqOuO/FOAM 13769c7", {"level": 3, "residual": 0.5},
           beside(lambda hidden: module.FOAM(
               [{"params": hidden, "level": 3, "scale": 0.25, "res_scale": 0.5}], lr=RATE,
               weight_decay=DECAY, no_deprecation_warning=True)))


def record_gwt():
    import ptwt
    module = load("GWT/galore_torch/waveadamw.py", "waveadamw", ptwt1=ptwt, pywt1=pywt)
    record("gwt", "zqOuO/GWT 58b8ccc, with ptwt 1.0.1", {},
           beside(lambda hidden: module.WaveAdamW(
               [{"params": hidden, "wave_type": "haar", "level": 2, "boundary": "zero",
                 "scale": 0.25}], lr=RATE, weight_decay=DECAY, no_deprecation_warning=True)))


class WithErrors:
    """LDAdam leaves its error in the gradient, which the next backward pass adds to."""

    def __init__(self, inner, hidden):
        self.inner, self.hidden = inner, hidden
        self.errors = [torch.zeros_like(p) for p in hidden]
        self.param_groups = inner.param_groups

    def step(self):
        for parameter, error in zip(self.hidden, self.errors):
            parameter.grad.add_(error)
        self.inner.step()
        self.errors = [p.grad.clone() for p in self.hidden]


def record_ldadam():
    package = types.ModuleType("ldadamw_torch")
    package.__path__ = [str(SOURCES / "LDAdam/ldadamw_torch")]
    sys.modules["ldadamw_torch"] = package
    module = importlib.import_module("ldadamw_torch.ldadamw")
    record("ldadam", "IST-DASLab/LDAdam f3c5daf", {"rank": 3},
           beside(lambda hidden: WithErrors(module.LDAdamW(
               [{"params": hidden, "enable_lowrank": True, "lr": RATE}], lr=RATE, rank=3,
               weight_decay=DECAY), hidden)))


def record_frugal():
    # A name of older versions of torch.
    importlib.import_module("torch.optim.optimizer")._dispatch_sqrt = math.sqrt
    package = types.ModuleType("frugal")
    package.__path__ = [str(SOURCES / "FRUGAL/frugal")]
    sys.modules["frugal"] = package
    module = importlib.import_module("frugal.adamw")
    coordinates = importlib.import_module("frugal.coordinate_projector").CoordinateProjector
    draws, plain = Draws(), coordinates._get_indices

    def recorded(self, *how):
        parameter = next(n for n in HIDDEN if SHAPES[n] == tuple(self.grad_shape))
        return draws.add(parameter, plain(self, *how))

    coordinates._get_indices = recorded

    torch.manual_seed(0)

    def make(p):
        hidden = [p[n] for n in HIDDEN]
        return [module.CoordAdamW(
            [{"params": hidden, "is_proj_params": True, "density": 0.5, "update_gap": 4}],
            lr=RATE, weight_decay=DECAY, no_deprecation_warning=True), rest(p)]

    record("frugal", "fzmushko/FRUGAL c7ebe4c, coord_choice columns",
           {"density": 0.5, "update_every": 4}, make, draws)


def record_soap():
    module = load("SOAP/soap.py", "soap")
    record("soap", "nikhilvyas/SOAP a1e5535", {"precondition_every": 3},
           beside(lambda hidden: module.SOAP(hidden, lr=RATE, weight_decay=DECAY,
                                             precondition_frequency=3)))


def record_shampoo():
    from pytorch_optimizer import Shampoo
    record("shampoo", "pytorch-optimizer 4.1.0, Shampoo(momentum=0)", {},
           beside(lambda hidden: Shampoo(hidden, lr=RATE, weight_decay=DECAY, weight_decouple=True,
                                         preconditioning_compute_steps=1, matrix_eps=1e-6)))


if __name__ == "__main__":
    of_functions(globals(), sys.argv[2:])
