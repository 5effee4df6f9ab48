"""Records tests/golden/{muon,muon_float32,galore,lomo}.safetensors: all parameters after each of ten
steps of torch.optim.Muon, of the package galore-torch 1.0 and of lomo-optim 0.1.1, on the CPU.

    python3 -m venv golden
    golden/bin/pip install torch==2.13.0 numpy transformers==5.23.0
    golden/bin/pip install --no-deps galore-torch==1.0 lomo-optim==0.1.1
    golden/bin/python tests/golden/record_matrix_rules.py

Parameters and gradients as in record_optimizers.py, on nanoGPT's layout. Muon and GaLore take the
matrices of attention and MLP, the rest has AdamW at 0.3 of the rate, or the package's own Adam at
the same one. Muon multiplies in bfloat16; `muon_float32` is the same code with its conversion to
bfloat16 taken out. GaLore: eps 1e-20, whose place the package has elsewhere; decay on its matrices
only, which the package decays after the step; every singular vector's largest component positive.
LOMO: decay everywhere and the norm clipped to 0.5, with the package's two backward passes.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch
from layouts import gpt2_layout
from record_optimizers import (BETAS, DECAY, STEPS, adamw, gradients, initial, rate, run,
                               write_safetensors)


def is_hidden(name):
    return name.endswith(".weight") and (".attn." in name or ".mlp." in name)


def load_galore():
    """The package's AdamW alone: importing the package itself asks for bitsandbytes."""
    found = importlib.util.find_spec("galore_torch")
    package = types.ModuleType("galore_torch")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["galore_torch"] = package
    projector = importlib.import_module("galore_torch.galore_projector").GaLoreProjector
    plain = projector.get_orthogonal_matrix

    def with_signs(self, weights, rank, type):
        basis = plain(self, weights, rank, type)
        along = 1 if type == "right" else 0
        largest = basis.gather(along, basis.abs().argmax(along, keepdim=True))
        return basis * torch.where(largest < 0, -1.0, 1.0)

    projector.get_orthogonal_matrix = with_signs
    return importlib.import_module("galore_torch.adamw").AdamW


class Both:
    """Two optimizers, the second at 0.3 of the rate that is set."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    @property
    def param_groups(self):
        return self.first.param_groups

    def step(self):
        for group in self.second.param_groups:
            group["lr"] = 0.3 * self.first.param_groups[0]["lr"]
        self.first.step()
        self.second.step()


def muon(adjust):
    def make(parameters):
        hidden = [p for n, p in parameters.items() if is_hidden(n)]
        rest = {n: p for n, p in parameters.items() if not is_hidden(n)}
        return Both(torch.optim.Muon(hidden, weight_decay=DECAY, adjust_lr_fn=adjust), adamw(rest))
    return make


def galore(parameters):
    hidden = [p for n, p in parameters.items() if is_hidden(n)]
    rest = [p for n, p in parameters.items() if not is_hidden(n)]
    return load_galore()(
        [{"params": hidden, "rank": 3, "update_proj_gap": 4, "scale": 0.25, "proj_type": "std",
          "weight_decay": DECAY},
         {"params": rest, "weight_decay": 0.0}],
        betas=BETAS, eps=1e-20, no_deprecation_warning=True)


class Holder(torch.nn.Module):
    def __init__(self, parameters):
        super().__init__()
        for index, parameter in enumerate(parameters.values()):
            self.register_parameter(f"p{index}", parameter)


def run_lomo(layout):
    from lomo_optim.lomo import Lomo
    parameters = initial(layout)
    model = Holder(parameters)
    optimizer = Lomo(model, clip_grad_norm=0.5, weight_decay=DECAY)
    history = {}
    for step in range(STEPS):
        parts = [torch.from_numpy(part.reshape(shape).copy())
                 for (_, shape), part in zip(layout, gradients(layout, step))]

        def loss():
            return sum((p * g).sum() for p, g in zip(parameters.values(), parts))

        optimizer.lr = rate(step)
        optimizer.grad_norm(loss())
        optimizer.fused_backward(loss(), rate(step))
        history[f"step_{step + 1:02}"] = torch.cat(
            [p.detach().flatten() for p in parameters.values()]).numpy()
    return history


def main():
    folder = Path(__file__).parent
    layout = list(gpt2_layout(8, 2, True, True))
    write_safetensors(folder / "muon.safetensors", run(layout, muon("original")))
    write_safetensors(folder / "galore.safetensors", run(layout, galore))
    write_safetensors(folder / "lomo.safetensors", run_lomo(layout))
    torch.Tensor.bfloat16 = torch.Tensor.clone
    write_safetensors(folder / "muon_float32.safetensors", run(layout, muon("match_rms_adamw")))


if __name__ == "__main__":
    main()
