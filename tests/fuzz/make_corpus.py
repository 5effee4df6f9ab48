"""Writes the first inputs of the fuzz targets: small whole files, from sizes of our own.

    python tests/fuzz/make_corpus.py

writes tests/fuzz/corpus/TARGET/*, which are committed. Inputs that brought a reader down lie beside
them as crash_*; this program leaves those alone. The run's YAML and the configurations of Hugging
Face models need none here: tests/fuzz/run.sh takes those of configs/ and of tests/golden/.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import make_runs  # noqa: E402

WIDTH, POSITIONS, TOKENS = 4, 6, 11
# The small GPT-2 of small_model.hpp.
SHAPES = {
    "transformer.wte.weight": [TOKENS, WIDTH],
    "transformer.wpe.weight": [POSITIONS, WIDTH],
    "transformer.h.0.ln_1.weight": [WIDTH],
    "transformer.h.0.ln_1.bias": [WIDTH],
    "transformer.h.0.attn.c_attn.weight": [3 * WIDTH, WIDTH],
    "transformer.h.0.attn.c_attn.bias": [3 * WIDTH],
    "transformer.h.0.attn.c_proj.weight": [WIDTH, WIDTH],
    "transformer.h.0.attn.c_proj.bias": [WIDTH],
    "transformer.h.0.ln_2.weight": [WIDTH],
    "transformer.h.0.ln_2.bias": [WIDTH],
    "transformer.h.0.mlp.c_fc.weight": [4 * WIDTH, WIDTH],
    "transformer.h.0.mlp.c_fc.bias": [4 * WIDTH],
    "transformer.h.0.mlp.c_proj.weight": [WIDTH, 4 * WIDTH],
    "transformer.h.0.mlp.c_proj.bias": [WIDTH],
    "transformer.ln_f.weight": [WIDTH],
    "transformer.ln_f.bias": [WIDTH],
}


def write(target: str, name: str, content: bytes | str | dict[str, Any]) -> None:
    if isinstance(content, dict):
        content = json.dumps(content, indent=1)
    data = content.encode() if isinstance(content, str) else content
    path = HERE / "corpus" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# ---- YAML --------------------------------------------------------------------------------------


def run_configs() -> None:
    write("run_config", "sweep.yaml", """name: s
output: out
seed: 3
data: {kind: tokens, train: a.bin, validation: b.bin, vocab_size: 61}
model: {family: llama, n_layer: 1, n_head: 2, n_embd: 8}
optimizer: {rule: adam_mini, learning_rate: 1.0e-3, partition: {by_role: {query: head}}}
schedule: {name: cosine, warmup_steps: 2}
trainer: {steps: 3, micro_batch_size: 2, precision: bf16}
hessian: {every: 1, top: 2}
sweep:
  method: random
  run_cap: 3
  seeds: [1, 2]
  baseline: b
  parameters:
    optimizer.learning_rate: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
    trainer.micro_batch_size: {distribution: int_uniform, min: 1, max: 4}
  groups:
    a: {set: {optimizer.rule: adamw}}
    b: {set: {optimizer.rule: adam_mini}, parameters: {seed: {values: [1, 2]}}}
""")  # fmt: skip
    write("run_config", "aliases.yaml", "a: &a {b: [1, 2]}\nname: *a\ndata: {<<: *a}\n")


def section(rows: int, structure: str) -> str:
    return f"      - {{rows: [0, {rows}], role: other, rule: own, structure: {structure}}}"


def partition(structure: str, version: int, merged: str = "") -> str:
    lines = ["format: blockwise-partition", f"version: {version}", "tensors:"]
    for name, shape in SHAPES.items():
        matrix = len(shape) == 2
        lines += [f"  - name: '{name}'", f"    shape: {shape}", "    sections:"]
        kind = structure.format(elements=shape[0] * shape[1]) if matrix else "elements"
        lines.append(section(shape[0], kind + (merged if matrix else "")))
    return "\n".join(lines) + "\n"


def partitions() -> None:
    structures = {
        "elements": "elements",
        "tiles": "tiles, tile: [2, 3]",
        "factored": "factored, group: 3",
        "labels": 'labels, labels: "0*1 1*3"',
        "none": "none, tile: [1, 4]",
    }
    for name, structure in structures.items():
        write("partition_file", f"{name}.yaml", partition(structure, 1))
    merged = partition("tiles, tile: [1000, 1000]", 2, ", merged: 0, evidence: {lift: 0.5}")
    write("partition_file", "merged.yaml", merged + "provenance: {objective: 'energy'}\n")


def rates() -> None:
    lines = ["format: blockwise-rates", "version: 1", "partition: HASH", "learning_rate: 0.1"]
    lines += ["provenance: {method: 'own'}", "tensors:"]
    for name in SHAPES:
        lines += [f"  - name: '{name}'", "    sections:"]
        lines.append('      - {rate: "0.5", low: "0.25", high: "1"}')
    write("rates_file", "rates.yaml", "\n".join(lines) + "\n")


# ---- models ------------------------------------------------------------------------------------


def model_configs() -> None:
    write("model_config", "gpt2.json", {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_head": 2,
        "n_layer": 1, "n_positions": 16, "n_inner": None, "vocab_size": 61, "bos_token_id": 1,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.0,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "tie_word_embeddings": True,
    })  # fmt: skip
    llama = {
        "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 2, "vocab_size": 61,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "hidden_act": "silu",
        "tie_word_embeddings": False, "attention_bias": False, "rope_theta": 300.0,
    }  # fmt: skip
    for family in ("llama", "mistral", "qwen2", "qwen3"):
        window = {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 0}
        more = window if family != "llama" else {"mlp_bias": False, "pretraining_tp": 1}
        write("model_config", f"{family}.json", llama | {"model_type": family} | more)
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 8}  # fmt: skip
    write("model_config", "scaled.json", llama | {"model_type": "llama", "rope_scaling": scaled})
    yarn = {"rope_type": "yarn", "rope_theta": 300.0, "factor": 2.0, "beta_fast": 32.0}
    write("model_config", "yarn.json", llama | {"model_type": "qwen3", "rope_parameters": yarn})


PYTORCH = {"format": "pt"}


def safetensors(
    tensors: dict[str, tuple[str, list[int], int]], metadata: dict[str, str] | None = PYTORCH
) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(i % 251 for i in range(end))


def weights() -> None:
    kinds = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
             "U8": 1, "BOOL": 1, "F8_E4M3": 1}  # fmt: skip
    every = {f"a.{kind}": (kind, [2, 3], 6 * size) for kind, size in kinds.items()}
    every.pop("a.F8_E4M3")
    write("safetensors", "every.safetensors", safetensors(every))
    write("safetensors", "eight_bits.safetensors", safetensors({"a": ("F8_E4M3", [2], 2)}))
    odd = {"scalar": ("F32", [], 4), "empty": ("F32", [0, 3], 0), "b": ("U8", [1, 1, 1], 1)}
    write("safetensors", "odd.safetensors", safetensors(odd, metadata=None))
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(SHAPES, "shard.safetensors")}
    write("weight_index", "index.json", index)


def recordings() -> None:
    matrix, vector = ("F32", [4, 4], 64), ("BF16", [3], 6)
    tensors = {"schedule": ("F32", [2], 8)}
    tensors |= {f"{kind}/w": matrix for kind in ("param", "grad/1", "grad/2")}
    tensors |= {f"{kind}/a/b": vector for kind in ("param", "grad/1", "grad/2")}
    roles = {"role/w": "query", "heads/w": "2", "role/a/b": "norm"}
    write("recording", "roles.safetensors", safetensors(tensors, roles))
    draws = {"random/1/w": ("F32", [2, 4], 32), "random/2/a/b": ("I64", [2], 16)}
    write("recording", "draws.safetensors", safetensors(tensors | draws, roles))
    curvature = {"curvature/1/w": matrix, "curvature/2/a/b": vector}
    write("recording", "curvature.safetensors", safetensors(tensors | curvature))
    one = {"param/w": matrix, "grad/1/w": matrix}
    write("recording", "one.safetensors", safetensors(one, metadata=None))


def llm_c() -> None:
    for name, version, size in (("float32.bin", 3, 4), ("bfloat16.bin", 5, 2)):
        padded = 128
        header = struct.pack("<8i", 20240326, version, POSITIONS, TOKENS, 1, 2, WIDTH, padded)
        elements = sum(
            (padded if "wte" in key else shape[0]) * (shape[1] if len(shape) == 2 else 1)
            for key, shape in SHAPES.items()
        )
        write("llm_c", name, header.ljust(1024, b"\0") + bytes(elements * size))


def tokenizers() -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    added = [{"id": 5, "content": "<|endoftext|>", "special": True}]
    bpe = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120a": 3, "\u010a": 4},
           "merges": ["a b", "\u0120 a"]}  # fmt: skip
    write("tokenizer", "byte_level.json", {
        "version": "1.0", "added_tokens": added, "decoder": byte_level, "model": bpe,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [byte_level]},
    })  # fmt: skip
    pieces = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["\u2581a", -1.5]]}
    write("tokenizer", "unigram.json",
          {"decoder": {"type": "Metaspace", "replacement": "\u2581"}, "model": pieces})  # fmt: skip
    llama = {"type": "BPE", "byte_fallback": True, "vocab": {"<0x0A>": 0, "\u2581a": 1}}
    write("tokenizer", "byte_fallback.json", {
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": llama, "padding": {"pad_id": 0}, "truncation": {"max_length": 3},
    })  # fmt: skip
    word = {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "##b": 2}, "unk_token": "[UNK]"}
    write("tokenizer", "word_piece.json",
          {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}, "model": word})  # fmt: skip
    level = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
    write("tokenizer", "word_level.json", {"decoder": None, "model": level})


# ---- data and runs -----------------------------------------------------------------------------


def token_files() -> None:
    for name, magic, version, width in (("bits16", 20240520, 1, 2), ("bits32", 20240801, 7, 4)):
        header = struct.pack("<3i", magic, version, 5).ljust(1024, b"\0")
        tokens = b"".join(number.to_bytes(width, "little") for number in (1, 2, 3, 255, 0))
        write("token_file", f"{name}.bin", header + tokens)
    write("token_file", "bare.bin", struct.pack("<4H", 1, 2, 3, 40000))


def manifests() -> None:
    shards = [{"file": "train.bin", "tokens": 5, "sha256": "0" * 64}]
    write("token_manifest", "manifest.json", {
        "format": "blockwise-tokens", "version": 1, "tokenizer": "byte", "vocab_size": 256,
        "files": {"train": {"tokens": 5, "bytes": 5, "shards": shards}},
    })  # fmt: skip
    member = {"id": "a-1", "group": "a", "seed": 1, "steps": 3, "run": "members/a-1/run.h5",
              "config": "members/a-1/config.yaml", "config_hash": "0123456789abcdef",
              "overrides": {"optimizer.learning_rate": 0.1, "optimizer.rule": "adamw"}}  # fmt: skip
    other = member | {"id": "b-1", "group": "b", "run": "members/b-1/run.h5"}
    for version in (1, 2):
        write("sweep_manifest", f"version{version}.json", {
            "format": "blockwise-sweep", "version": version, "name": "s", "baseline": "a",
            "hash": "0123456789abcdef", "members": [member, other],
        })  # fmt: skip


def checkpoints() -> None:
    entry = {"bytes": 1000, "sha256": "0" * 64}
    write("checkpoint", "checkpoint.json", {
        "format": "blockwise-checkpoint", "version": 1, "step": 3,
        "config_hash": "0123456789abcdef",
        "files": {"parameters.safetensors": entry, "optimizer.safetensors": entry},
    })  # fmt: skip


def small_column(file: h5py.File, name: str, dtype: Any) -> None:
    dataset = file.create_dataset(name, (0,), dtype=dtype, maxshape=(None,), chunks=(4,))
    dataset.attrs["units"] = make_runs._text("1")


def runs() -> None:
    make_runs._column = small_column
    make_runs._describe = lambda dataset: None
    sections = [make_runs.Section("a.weight", "query", "tiles", 0, 0, 8, 4, 2, 4)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        for steps in (1, 9):
            spec = make_runs.RunSpec(steps=steps, evaluate_every=2, partition=sections)
            make_runs.write_run(path, spec)
            write("run_file", f"steps{steps}.h5", path.read_bytes())


if __name__ == "__main__":
    for make in (run_configs, partitions, rates, model_configs, weights, recordings, llm_c, tokenizers,
                 token_files, manifests, checkpoints, runs):  # fmt: skip
        make()
