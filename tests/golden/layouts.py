"""Names and shapes of the parameters, in the order of blockwise's layouts ([out, in] matrices)."""

VOCAB, LENGTH = 11, 6


def gpt2_layout(width, layers, bias, tied):
    def linear(name, out, into):
        yield name + ".weight", [out, into]
        if bias:
            yield name + ".bias", [out]

    def norm(name):
        yield name + ".weight", [width]
        if bias:
            yield name + ".bias", [width]

    yield "transformer.wte.weight", [VOCAB, width]
    yield "transformer.wpe.weight", [LENGTH, width]
    for i in range(layers):
        p = f"transformer.h.{i}."
        yield from norm(p + "ln_1")
        yield from linear(p + "attn.c_attn", 3 * width, width)
        yield from linear(p + "attn.c_proj", width, width)
        yield from norm(p + "ln_2")
        yield from linear(p + "mlp.c_fc", 4 * width, width)
        yield from linear(p + "mlp.c_proj", width, 4 * width)
    yield from norm("transformer.ln_f")
    if not tied:
        yield "lm_head.weight", [VOCAB, width]


def llama_layout(width, layers, heads, kv_heads, head_dim, mlp, tied):
    yield "model.embed_tokens.weight", [VOCAB, width]
    for i in range(layers):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [width]
        yield p + "self_attn.q_proj.weight", [heads * head_dim, width]
        yield p + "self_attn.k_proj.weight", [kv_heads * head_dim, width]
        yield p + "self_attn.v_proj.weight", [kv_heads * head_dim, width]
        yield p + "self_attn.o_proj.weight", [width, heads * head_dim]
        yield p + "post_attention_layernorm.weight", [width]
        yield p + "mlp.gate_proj.weight", [mlp, width]
        yield p + "mlp.up_proj.weight", [mlp, width]
        yield p + "mlp.down_proj.weight", [width, mlp]
    yield "model.norm.weight", [width]
    if not tied:
        yield "lm_head.weight", [VOCAB, width]


def is_gain(name):
    return name.endswith("weight") and any(part in name for part in ("norm.", "ln_"))
