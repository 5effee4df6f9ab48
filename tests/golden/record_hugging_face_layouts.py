"""Records other file layouts of the models in tests/golden/hugging_face/: what older versions of
`transformers` wrote, shards, bfloat16. Run it after record_hugging_face.py, with the same packages
(torch==2.13.0, transformers==5.23.0):

    golden/bin/python tests/golden/record_hugging_face_layouts.py

    gpt2_prefixed    names with `transformer.`, the buffers attn.bias and attn.masked_bias
    gpt2_bare        names without a prefix and a config.json of 2019, like openai-community/gpt2
    llama_sharded    two shards and model.safetensors.index.json
    llama_bf16       weights in bfloat16; expected values in float32 from the rounded weights
    llama_v4_config, llama_bias_tied_v4_config   config.json alone, in the style of transformers 4

Where a folder has no expected.safetensors (or no weights), those of the original hold.
"""

import json

import torch
from record_hugging_face import FOLDER, logits_and_loss, write_expected
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM


def read_config(name):
    return json.loads((FOLDER / name / "config.json").read_text())


def read_weights(name):
    return load_file(FOLDER / name / "model.safetensors")


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_weights(path, tensors):
    save_file({name: t.contiguous() for name, t in tensors.items()}, path,
              metadata={"format": "pt"})


# ---- configurations --------------------------------------------------------------------------


def version_4(config):
    """transformers 4 wrote torch_dtype, rope_theta and rope_scaling, left out most of what is None,
    and tied embeddings of GPT-2, where they are the default."""
    old = {key: value for key, value in config.items() if value is not None}
    old |= {"torch_dtype": old.pop("dtype"), "transformers_version": "4.46.3"}
    if old["model_type"] == "gpt2":
        del old["tie_word_embeddings"]
    rope = old.pop("rope_parameters", None)
    if rope is not None:
        old["rope_theta"] = rope.pop("rope_theta")
        old["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    return old


def gpt2_of_2019(config):
    keys = ("activation_function", "architectures", "attn_pdrop", "bos_token_id", "embd_pdrop",
            "eos_token_id", "initializer_range", "layer_norm_epsilon", "model_type", "n_embd",
            "n_head", "n_layer", "n_positions", "resid_pdrop", "vocab_size")
    return {key: config[key] for key in keys} | {"n_ctx": config["n_positions"]}


# ---- weights ---------------------------------------------------------------------------------


def causal_masks(config, prefix, masked_bias):
    """Buffers that GPT-2 used to save: the causal mask and the score of what it hides."""
    size = config["n_positions"]
    for layer in range(config["n_layer"]):
        yield f"{prefix}h.{layer}.attn.bias", torch.ones(size, size).tril()[None, None]
        if masked_bias:
            yield f"{prefix}h.{layer}.attn.masked_bias", torch.tensor(-1e4)


def record_gpt2_prefixed():
    config = read_config("gpt2")
    write_json(FOLDER / "gpt2_prefixed" / "config.json", version_4(config))
    write_weights(FOLDER / "gpt2_prefixed" / "model.safetensors",
                  read_weights("gpt2") | dict(causal_masks(config, "transformer.", True)))


def record_gpt2_bare():
    config = read_config("gpt2")
    bare = {name.removeprefix("transformer."): t for name, t in read_weights("gpt2").items()}
    write_json(FOLDER / "gpt2_bare" / "config.json", gpt2_of_2019(config))
    write_weights(FOLDER / "gpt2_bare" / "model.safetensors",
                  bare | dict(causal_masks(config, "", False)))


def record_llama_sharded():
    folder, weights = FOLDER / "llama_sharded", read_weights("llama")
    write_json(folder / "config.json", read_config("llama"))
    names = sorted(weights)
    halves = names[:len(names) // 2], names[len(names) // 2:]
    where = {}
    for number, half in enumerate(halves, start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        write_weights(folder / file, {name: weights[name] for name in half})
        where |= dict.fromkeys(half, file)
    count = sum(t.numel() for t in weights.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_parameters": count, "total_size": 4 * count},
                "weight_map": where})


def record_llama_bf16():
    folder, original = FOLDER / "llama_bf16", load_file(FOLDER / "llama" / "expected.safetensors")
    write_json(folder / "config.json", read_config("llama") | {"dtype": "bfloat16"})
    write_weights(folder / "model.safetensors",
                  {name: t.bfloat16() for name, t in read_weights("llama").items()})
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager")
    with torch.no_grad():
        logits, loss = logits_and_loss(model, original["tokens"], original["targets"])
    write_expected({"tokens": original["tokens"], "targets": original["targets"],
                    "logits": logits, "loss": loss}, folder)


def main():
    torch.set_num_threads(1)
    record_gpt2_prefixed()
    record_gpt2_bare()
    record_llama_sharded()
    record_llama_bf16()
    for name in ("llama", "llama_bias_tied"):
        write_json(FOLDER / f"{name}_v4_config" / "config.json", version_4(read_config(name)))


if __name__ == "__main__":
    main()
