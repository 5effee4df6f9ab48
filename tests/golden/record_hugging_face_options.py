"""Records what options of config.json change in `transformers`, beside the models of
record_hugging_face.py. Run it after that one, with the same packages (torch==2.13.0,
transformers==5.23.0):

    golden/bin/python tests/golden/record_hugging_face_options.py

New models, each a folder as record_hugging_face.py makes them:

    gpt2_gelu       activation_function "gelu", n_inner
    llama_mlp_bias  biases in the MLP
    llama_dynamic   rope_type "dynamic", on a sequence longer than max_position_embeddings
    qwen3_yarn      rope_type "yarn" with a ramp over five of eight frequencies

Edits of config.json, on the weights of another folder: config.json and expected.safetensors
(tokens, targets, logits, loss) alone:

    llama_rope_scaling_linear, llama_rope_scaling_yarn   rope_scaling added beside rope_parameters
    qwen3_window                 use_sliding_window with all layers behind max_window_layers
    gpt2_separate_head, llama_bias_tied_separate_head    tie_word_embeddings true and an lm_head of
                                 its own, which is in expected.safetensors as lm_head.weight
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from record_hugging_face import FOLDER, LENGTH, expected_values, logits_and_loss, random_batch
from record_hugging_face import random_model, rope, write_expected, write_pretrained
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

VOCAB = 61


def sizes(**others):
    return {"vocab_size": VOCAB, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
            "bos_token_id": None, "eos_token_id": None} | others


def models():
    return {
        "gpt2_gelu": GPT2Config(vocab_size=VOCAB, n_positions=16, n_embd=8, n_layer=2, n_head=2,
                                n_inner=12, activation_function="gelu", bos_token_id=None,
                                eos_token_id=None),
        "llama_mlp_bias": LlamaConfig(**sizes(mlp_bias=True)),
        "llama_dynamic": LlamaConfig(**sizes(
            head_dim=6, max_position_embeddings=LENGTH - 4,
            rope_parameters=rope(100.0, rope_type="dynamic", factor=2.0))),
        "qwen3_yarn": Qwen3Config(**sizes(
            head_dim=16, max_position_embeddings=256,
            rope_parameters=rope(100.0, rope_type="yarn", factor=4.0,
                                 original_max_position_embeddings=64))),
    }


def read_config(name):
    return json.loads((FOLDER / name / "config.json").read_text())


def write_config(name, config):
    (FOLDER / name).mkdir(exist_ok=True)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (FOLDER / name / "config.json").write_text(text)


def record_edit(name, original, changes, extra):
    """The model of the folder `original` with changes of its configuration and further tensors."""
    write_config(name, read_config(original) | changes)
    batch = load_file(FOLDER / original / "expected.safetensors")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(FOLDER / name / "config.json", scratch)
        weights = load_file(FOLDER / original / "model.safetensors")
        save_file(weights | extra, Path(scratch) / "model.safetensors", metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
    with torch.no_grad():
        logits, loss = logits_and_loss(model, batch["tokens"], batch["targets"])
    values = {"tokens": batch["tokens"], "targets": batch["targets"], "logits": logits}
    write_expected(values | {"loss": loss} | extra, FOLDER / name)


def main():
    torch.set_num_threads(1)
    for seed, (name, config) in enumerate(models().items(), start=100):
        generator = torch.Generator().manual_seed(seed)
        model = random_model(config, generator)
        tokens, targets = random_batch(generator)
        write_pretrained(model, FOLDER / name)
        write_expected(expected_values(model, tokens, targets), FOLDER / name)
    linear = {"rope_type": "linear", "factor": 4.0}
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    record_edit("llama_rope_scaling_linear", "llama", {"rope_scaling": linear}, {})
    record_edit("llama_rope_scaling_yarn", "llama", {"rope_scaling": yarn}, {})
    window = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0,
              "layer_types": None}
    record_edit("qwen3_window", "qwen3", window, {})
    for seed, original in enumerate(("gpt2", "llama_bias_tied"), start=200):
        generator = torch.Generator().manual_seed(seed)
        head = torch.empty(VOCAB, 16).normal_(0.0, 0.3, generator=generator)
        record_edit(f"{original}_separate_head", original, {"tie_word_embeddings": True},
                    {"lm_head.weight": head})


if __name__ == "__main__":
    main()
