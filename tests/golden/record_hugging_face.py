"""Records tests/golden/hugging_face/: folders of tiny random models as the library `transformers`
writes them, with the logits, loss and gradients that it computes, on the CPU in float32.

    python3 -m venv golden && golden/bin/pip install torch==2.13.0 transformers==5.23.0
    golden/bin/python tests/golden/record_hugging_face.py

A folder has config.json and model.safetensors of `save_pretrained`, and expected.safetensors:

    tokens   [2, 12] int64
    targets  [2, 12] int64, -100 where none is counted; given, not the shifted tokens
    logits   [2, 12, 61]
    loss     mean cross-entropy over the counted targets, a scalar
    grad.NAME  of every parameter, in the state dict's layout (Conv1D is [in, out]); a tied tensor
             once, under the embedding's name

Dropout is off (`eval()`). record_hugging_face_layouts.py makes other file layouts of these models.
The versions are in the metadata of expected.safetensors, too.
"""

import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig
from transformers import Qwen2Config, Qwen3Config

FOLDER = Path(__file__).parent / "hugging_face"
VERSIONS = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
VOCAB, BATCH, LENGTH = 61, 2, 12
# Positions without a target: the first, neighbours in the middle, the last of the second row.
UNCOUNTED = ([0, 0, 0, 1, 1], [0, 5, 6, 3, 11])


def rope(theta, **scaling):
    return {"rope_type": "default", "rope_theta": theta} | scaling


def llama_like(width, head_dim, kv_heads, **others):
    """Fields that the four families share; Qwen2 knows no head_dim (None)."""
    fields = {"vocab_size": VOCAB, "hidden_size": width, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": kv_heads,
              "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
    return fields | ({"head_dim": head_dim} if head_dim else {}) | others


def configs():
    # With 32 original positions, of the wavelengths of theta 500 (6.3, 17.7, 50 and more) one is
    # below the band of 8 to 32 (kept), one within (blended), the others above (divided by 8).
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    return {
        "gpt2": GPT2Config(vocab_size=VOCAB, n_positions=16, n_embd=16, n_layer=2, n_head=4,
                           bos_token_id=0, eos_token_id=0),
        "llama": LlamaConfig(**llama_like(24, 6, 2, intermediate_size=20, rms_norm_eps=1e-5)),
        "llama_bias_tied": LlamaConfig(**llama_like(
            16, 12, 1, intermediate_size=28, attention_bias=True, tie_word_embeddings=True,
            rms_norm_eps=1e-3, rope_parameters=rope(500.0, **llama3))),
        "mistral": MistralConfig(**llama_like(
            16, 6, 2, intermediate_size=20, sliding_window=5, rope_parameters=rope(2000.0))),
        "qwen2": Qwen2Config(**llama_like(
            16, None, 2, intermediate_size=24, tie_word_embeddings=True,
            rope_parameters=rope(1000000.0))),
        "qwen3": Qwen3Config(**llama_like(
            16, 8, 2, intermediate_size=24, rope_parameters=rope(300.0))),
    }


def randomize(model, generator):
    """Every parameter random: a gain that is ignored, or a bias, changes the logits."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = parameter.dim() == 1 and name.endswith("weight")
            parameter.normal_(1.0 if gain else 0.0, 0.3, generator=generator)


def random_model(config, generator):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.float().eval()
    randomize(model, generator)
    return model


def random_batch(generator):
    tokens, targets = torch.randint(VOCAB, (2, BATCH, LENGTH), generator=generator)
    targets[UNCOUNTED] = -100
    return tokens.contiguous(), targets.contiguous()


def logits_and_loss(model, tokens, targets):
    logits = model(tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return logits, loss


def expected_values(model, tokens, targets):
    model.zero_grad()
    logits, loss = logits_and_loss(model, tokens, targets)
    loss.backward()
    gradients = {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    return {"tokens": tokens, "targets": targets, "logits": logits.detach(),
            "loss": loss.detach()} | gradients


def write_pretrained(model, folder):
    """config.json and model.safetensors of `save_pretrained`, without generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes((Path(scratch) / name).read_bytes())


def write_expected(values, folder):
    # One key of metadata: safetensors writes several in an order that changes.
    save_file(values, folder / "expected.safetensors", metadata={"versions": VERSIONS})


def main():
    torch.set_num_threads(1)
    for seed, (name, config) in enumerate(configs().items()):
        generator = torch.Generator().manual_seed(seed)
        model = random_model(config, generator)
        tokens, targets = random_batch(generator)
        write_pretrained(model, FOLDER / name)
        write_expected(expected_values(model, tokens, targets), FOLDER / name)


if __name__ == "__main__":
    main()
