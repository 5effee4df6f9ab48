"""Records tests/golden/{adamw,adam_mini_*}.safetensors: all parameters after each of ten steps of
torch.optim.AdamW and of the package adam-mini 1.1.1, on the CPU in float32.

    python3 -m venv golden
    golden/bin/pip install torch==2.13.0 numpy
    golden/bin/pip install --no-deps adam-mini==1.1.1
    golden/bin/python tests/golden/record_optimizers.py

The package decides by parameter names, so the parameters carry the names of LLaMA in Hugging Face
and of nanoGPT. Parameters start at 0.4 * formula (gains 1 + that); gradients are the formula's
times 2^-(index mod 13), so that magnitudes differ. Decay 0.1, but none for norms and biases, as the
package does it. The rate falls a little every step.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch
from formula import formula
from layouts import gpt2_layout, is_gain, llama_layout

STEPS = 10
BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 0.1


def rate(step):
    return 0.01 * (1.0 - 0.05 * step)


def sizes(layout):
    return [int(np.prod(shape)) for _, shape in layout]


def initial(layout):
    flat = (formula(1, sum(sizes(layout))) * 0.4).astype(np.float64)
    parts = np.split(flat, np.cumsum(sizes(layout))[:-1])
    return {name: torch.nn.Parameter(torch.from_numpy(
        (part.reshape(shape) + (1.0 if is_gain(name) else 0.0)).astype(np.float32)))
        for (name, shape), part in zip(layout, parts)}


def gradients(layout, step):
    n = sum(sizes(layout))
    flat = formula(10 + step, n) * np.exp2(-(np.arange(n) % 13))
    return np.split(flat.astype(np.float32), np.cumsum(sizes(layout))[:-1])


def run(layout, make_optimizer):
    layout = list(layout)
    parameters = initial(layout)
    optimizer = make_optimizer(parameters)
    history = {}
    for step in range(STEPS):
        for (name, shape), part in zip(layout, gradients(layout, step)):
            parameters[name].grad = torch.from_numpy(part.reshape(shape).copy())
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        flat = [p.detach().flatten() for p in parameters.values()]
        history[f"step_{step + 1:02}"] = torch.cat(flat).numpy()
    return history


def adamw(parameters):
    exempt = {n for n in parameters if n.endswith(".bias") or is_gain(n)}
    return torch.optim.AdamW(
        [{"params": [p for n, p in parameters.items() if n not in exempt], "weight_decay": DECAY},
         {"params": [p for n, p in parameters.items() if n in exempt], "weight_decay": 0.0}],
        betas=BETAS, eps=EPS)


def adam_mini(width, heads, kv_heads):
    from adam_mini import Adam_mini

    def make(parameters):
        return Adam_mini(parameters.items(), betas=BETAS, eps=EPS, weight_decay=DECAY, dim=width,
                         n_heads=heads, n_kv_heads=kv_heads, verbose=False)
    return make


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        assert values.dtype == np.float32
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = Path(__file__).parent
    gpt2 = list(gpt2_layout(8, 2, True, True))
    grouped = list(llama_layout(8, 2, 4, 2, 2, 12, False))
    # Heads of 4 rows, but the package cuts runs of 8 * 8 / 4 elements: 2 rows.
    half_heads = list(llama_layout(8, 2, 4, 2, 4, 12, True))
    write_safetensors(folder / "adamw.safetensors", run(gpt2, adamw))
    write_safetensors(folder / "adam_mini_nanogpt.safetensors", run(gpt2, adam_mini(8, 2, None)))
    write_safetensors(folder / "adam_mini_llama.safetensors", run(grouped, adam_mini(8, 4, 2)))
    write_safetensors(folder / "adam_mini_half_heads.safetensors",
                      run(half_heads, adam_mini(8, 4, 2)))


if __name__ == "__main__":
    main()
