"""Records tests/golden/models.json: logits and loss of tiny GPT-2 and LLaMA models of the library
`transformers`, in float64 (its rotary angles are float32 whatever the model's type).

    python3 -m venv golden && golden/bin/pip install torch==2.13.0 numpy transformers==5.23.0
    golden/bin/python tests/golden/record_models.py

Parameters are 0.4 * formula (norm gains: 1 + 0.4 * formula) over the flat buffer in the order of
blockwise's layout, which the file lists; tokens are the formula's, scaled to the vocabulary.
"""

import json
from pathlib import Path

import torch
from formula import formula
from layouts import LENGTH, VOCAB, gpt2_layout, is_gain, llama_layout
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


def state_dict(layout):
    """The layout's tensors by name, as transformers wants them (its Conv1D is [in, out])."""
    layout = list(layout)
    flat = torch.from_numpy(formula(1, sum(torch.Size(s).numel() for _, s in layout))) * 0.4
    state, at = {}, 0
    for name, shape in layout:
        size = torch.Size(shape).numel()
        value = flat[at:at + size].view(shape) + (1.0 if is_gain(name) else 0.0)
        conv = any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        state[name] = value.T.contiguous() if conv else value
        at += size
    return state


def run(model, state, tied):
    if tied:
        state["lm_head.weight"] = next(iter(state.values()))
    model = model.double().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    # A model without biases is recorded with all of transformers' biases at zero.
    for name in missing:
        assert name.endswith(".bias"), name
        model.get_parameter(name).data.zero_()
    draws = torch.from_numpy(formula(2, 4 * (LENGTH - 1)))
    tokens = ((draws + 1) / 2 * VOCAB).long().view(4, LENGTH - 1)
    inputs, targets = tokens[:2], tokens[2:]
    with torch.no_grad():
        logits = model(inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), targets.reshape(-1))
    return {"inputs": inputs.tolist(), "targets": targets.tolist(),
            "logits": logits.flatten().tolist(), "loss": loss.item()}


def gpt2_case(name, bias, tied):
    width, layers, heads = 8, 2, 2
    layout = list(gpt2_layout(width, layers, bias, tied))
    config = GPT2Config(vocab_size=VOCAB, n_positions=LENGTH, n_embd=width, n_layer=layers,
                        n_head=heads, tie_word_embeddings=tied, attn_implementation="eager",
                        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    fields = {"vocab_size": VOCAB, "block_size": LENGTH, "n_layer": layers, "n_head": heads,
              "n_embd": width, "bias": bias, "tie_word_embeddings": tied}
    return {"name": name, "family": "gpt2", "fields": fields, "layout": layout,
            **run(GPT2LMHeadModel(config), state_dict(layout), tied)}


def llama_case(name, kv_heads, head_dim, tied, theta=10000.0):
    width, layers, heads, mlp = 8, 2, 4, 12
    layout = list(llama_layout(width, layers, heads, kv_heads, head_dim, mlp, tied))
    config = LlamaConfig(vocab_size=VOCAB, max_position_embeddings=LENGTH, hidden_size=width,
                         num_hidden_layers=layers, num_attention_heads=heads, head_dim=head_dim,
                         num_key_value_heads=kv_heads, intermediate_size=mlp, rms_norm_eps=1e-5,
                         tie_word_embeddings=tied, attn_implementation="eager",
                         rope_parameters={"rope_type": "default", "rope_theta": theta})
    fields = {"vocab_size": VOCAB, "block_size": LENGTH, "n_layer": layers, "n_head": heads,
              "n_kv_head": kv_heads, "n_embd": width, "head_dim": head_dim,
              "intermediate_size": mlp, "rope_theta": theta, "tie_word_embeddings": tied}
    return {"name": name, "family": "llama", "fields": fields, "layout": layout,
            **run(LlamaForCausalLM(config), state_dict(layout), tied)}


def main():
    cases = [
        gpt2_case("GPT-2, tied", bias=True, tied=True),
        gpt2_case("GPT-2, untied, without biases", bias=False, tied=False),
        llama_case("LLaMA, multi-head", kv_heads=4, head_dim=2, tied=False),
        llama_case("LLaMA, grouped-query, wide heads", kv_heads=2, head_dim=6, tied=False),
        llama_case("LLaMA, tied, theta 500", kv_heads=1, head_dim=4, tied=True, theta=500.0),
    ]
    path = Path(__file__).with_name("models.json")
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
