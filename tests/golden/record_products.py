"""Records tests/golden/products.json: products of the Hessian H and of the Gauss-Newton matrix G of
tiny GPT-2 and LLaMA models with a vector, by torch.func, in float64 throughout.

    python3 -m venv golden && golden/bin/pip install torch==2.13.0 numpy
    golden/bin/python tests/golden/record_products.py

Models, parameters, layouts and tokens are those of models.json (0.4 * formula(1, n), norm gains 1 +
that), but two targets are ignored (-100); the loss is the mean cross-entropy over the others.
`transformers` computes LLaMA's norms, softmax and rotary angles in float32 even in a float64 model,
so the models stand below as plain functions, and must give the logits of models.json before
anything is recorded.

With v = formula(3, n), which is not stored, every case has, flat in the order of its layout,

    gradient                 g, of the loss
    hessian_product          H v, the derivative of g along v
    gauss_newton_product     G v = J^T (d^2 loss / d logits^2) J v, J = d logits / d parameters
    block_diagonal_product   H_bb v_b for every tensor b of the layout, one after the other

A tied head is one parameter with the embedding: its derivatives are the sum of both uses.
"""

import json
import math
from pathlib import Path

import torch
from formula import formula
from layouts import is_gain
from torch.func import grad, jvp, vjp

IGNORED = -100
IGNORED_PLACES = [(0, 1), (1, 3)]  # (sequence, position)
EPS = 1e-5
# The recorded logits of LLaMA went through float32 (norms, softmax, rotary angles).
LOGITS_TOLERANCE = {"gpt2": 1e-12, "llama": 1e-6}


def tensor(stream, count):
    return torch.from_numpy(formula(stream, count))


# ---- parameters: a flat vector, and the layout's tensors by name


def sizes(layout):
    return [math.prod(shape) for _, shape in layout]


def split(layout, flat):
    parts = flat.split(sizes(layout))
    return {name: part.view(shape) for (name, shape), part in zip(layout, parts)}


def initial(layout):
    flat = 0.4 * tensor(1, sum(sizes(layout)))
    for name, part in split(layout, flat).items():
        if is_gain(name):
            part += 1.0
    return flat


# ---- the models: logits [B, T, V] of tensors by name


def linear(p, name, x):
    y = x @ p[name + ".weight"].T
    return y + p[name + ".bias"] if name + ".bias" in p else y


def layer_norm(p, name, x):
    x = x - x.mean(-1, keepdim=True)
    y = x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * p[name + ".weight"]
    return y + p[name + ".bias"] if name + ".bias" in p else y


def rms_norm(p, name, x):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * p[name + ".weight"]


def gelu_tanh(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x * torch.sigmoid(x)


def split_heads(x, heads):
    """[B, T, heads * D] to [B, heads, T, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def causal_attention(q, k, v):
    """[B, heads, T, D] each, to [B, T, heads * D]."""
    length, head_dim = q.shape[-2:]
    scores = q @ k.transpose(-1, -2) / math.sqrt(head_dim)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), -1)
    return (weights @ v).transpose(1, 2).flatten(-2)


def head(p, x, embedding):
    """Logits; a tied head is not in the layout, it is the embedding."""
    return x @ p.get("lm_head.weight", p[embedding]).T


def gpt2_logits(p, fields, inputs):
    embedding, heads = "transformer.wte.weight", fields["n_head"]
    x = p[embedding][inputs] + p["transformer.wpe.weight"][:inputs.shape[1]]
    for i in range(fields["n_layer"]):
        block = f"transformer.h.{i}."
        qkv = linear(p, block + "attn.c_attn", layer_norm(p, block + "ln_1", x))
        q, k, v = (split_heads(part, heads) for part in qkv.chunk(3, -1))
        x = x + linear(p, block + "attn.c_proj", causal_attention(q, k, v))
        hidden = gelu_tanh(linear(p, block + "mlp.c_fc", layer_norm(p, block + "ln_2", x)))
        x = x + linear(p, block + "mlp.c_proj", hidden)
    return head(p, layer_norm(p, "transformer.ln_f", x), embedding)


def rotate(x, theta):
    """Rotary embedding of [B, heads, T, D]: turns (x_i, x_{i + D/2}) by t * theta^(-2i/D)."""
    length, head_dim = x.shape[-2:]
    rates = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), rates)
    a, b = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def llama_attention(p, name, fields, x):
    heads, kv_heads = fields["n_head"], fields["n_kv_head"]
    q = rotate(split_heads(linear(p, name + "q_proj", x), heads), fields["rope_theta"])
    k = rotate(split_heads(linear(p, name + "k_proj", x), kv_heads), fields["rope_theta"])
    v = split_heads(linear(p, name + "v_proj", x), kv_heads)
    # Query head h reads key head h // group.
    k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
    return linear(p, name + "o_proj", causal_attention(q, k, v))


def llama_mlp(p, name, x):
    hidden = silu(linear(p, name + "gate_proj", x)) * linear(p, name + "up_proj", x)
    return linear(p, name + "down_proj", hidden)


def llama_logits(p, fields, inputs):
    embedding = "model.embed_tokens.weight"
    x = p[embedding][inputs]
    for i in range(fields["n_layer"]):
        layer = f"model.layers.{i}."
        normed = rms_norm(p, layer + "input_layernorm", x)
        x = x + llama_attention(p, layer + "self_attn.", fields, normed)
        normed = rms_norm(p, layer + "post_attention_layernorm", x)
        x = x + llama_mlp(p, layer + "mlp.", normed)
    return head(p, rms_norm(p, "model.norm", x), embedding)


FAMILIES = {"gpt2": gpt2_logits, "llama": llama_logits}


# ---- the loss and its products


def cross_entropy(logits, targets):
    """Mean over the targets that count."""
    counted = targets != IGNORED
    rows = torch.log_softmax(logits[counted], -1)
    return -rows.gather(-1, targets[counted].unsqueeze(-1)).mean()


def cross_entropy_hessian_product(logits, targets, u):
    """(diag(p) - p p^T) u / count at every counted position, zero at the ignored ones."""
    p = torch.softmax(logits, -1)
    counted = (targets != IGNORED).unsqueeze(-1)
    return p * (u - (p * u).sum(-1, keepdim=True)) * counted / counted.sum()


def hessian_product(loss, at, v):
    return jvp(grad(loss), (at,), (v,))[1]


def gauss_newton_product(logits, targets, at, v):
    outputs, jv = jvp(logits, (at,), (v,))
    transposed = vjp(logits, at)[1]
    return transposed(cross_entropy_hessian_product(outputs, targets, jv))[0]


def block_diagonal_product(loss, layout, at, v):
    """H_bb v_b: of H times v with zeros outside b, the entries of b."""
    products, begin = [], 0
    for size in sizes(layout):
        alone = torch.zeros_like(v)
        alone[begin:begin + size] = v[begin:begin + size]
        products.append(hessian_product(loss, at, alone)[begin:begin + size])
        begin += size
    return torch.cat(products)


# ---- checks before recording


def check_logits(case, logits):
    recorded = torch.tensor(case["logits"], dtype=torch.float64).view_as(logits)
    difference = (logits - recorded).abs().max().item()
    print(f"{case['name']}: logits differ by {difference:.1e}", end="")
    assert difference < LOGITS_TOLERANCE[case["family"]], difference


def check_symmetric(name, product, v, w):
    left, right = (v @ product(w)).item(), (w @ product(v)).item()
    difference = abs(left - right) / abs(left)
    print(f", asymmetry of {name} {difference:.1e}", end="")
    assert difference < 1e-10, (left, right)


def check_finite_difference(loss, at, v, product):
    """Central difference of the gradient, relative to the largest entry of H v."""
    step = 1e-5
    difference = (grad(loss)(at + step * v) - grad(loss)(at - step * v)) / (2.0 * step)
    error = ((difference - product).abs().max() / product.abs().max()).item()
    print(f", differences of the gradient off by {error:.1e}")
    assert error < 1e-6, error


# ---- recording


def ignoring(targets):
    targets = torch.tensor(targets)
    for place in IGNORED_PLACES:
        targets[place] = IGNORED
    return targets


def record(case):
    layout, inputs = case["layout"], torch.tensor(case["inputs"])
    targets, at = ignoring(case["targets"]), initial(layout)
    v, w = (tensor(stream, len(at)) for stream in (3, 4))

    def logits(flat):
        return FAMILIES[case["family"]](split(layout, flat), case["fields"], inputs)

    def loss(flat):
        return cross_entropy(logits(flat), targets)

    hv = hessian_product(loss, at, v)
    gv = gauss_newton_product(logits, targets, at, v)
    check_logits(case, logits(at))
    check_symmetric("H", lambda u: hessian_product(loss, at, u), v, w)
    check_symmetric("G", lambda u: gauss_newton_product(logits, targets, at, u), v, w)
    check_finite_difference(loss, at, v, hv)
    return {**{key: case[key] for key in ("name", "family", "fields", "layout", "inputs")},
            "targets": targets.tolist(), "loss": loss(at).item(),
            "gradient": grad(loss)(at).tolist(), "hessian_product": hv.tolist(),
            "gauss_newton_product": gv.tolist(),
            "block_diagonal_product": block_diagonal_product(loss, layout, at, v).tolist()}


def main():
    folder = Path(__file__).parent
    cases = json.loads((folder / "models.json").read_text())
    lines = ",\n".join(json.dumps(record(case)) for case in cases)
    (folder / "products.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
