"""Opens a folder with `transformers` and compares its logits with recorded ones:

    golden/bin/python tests/golden/check_hugging_face.py FOLDER EXPECTED

FOLDER has config.json and weights, for example written by blockwise; EXPECTED is a safetensors file
with `tokens` [B, T] and `logits` [B, T, V], see record_hugging_face.py. Everything in float32 on
the CPU. Exit codes: 0 equal up to 1e-4, 1 not equal, or tensors that are missing or that the model
does not know (transformers itself only warns), 2 bad input. Written for torch==2.13.0 and
transformers==5.23.0.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

# Two orders of summation in float32 differ by some 1e-6 here; a wrong model by 1e-3 and more.
TOLERANCE = 1e-4


def read_arguments():
    parser = argparse.ArgumentParser(description="compares a model's logits with recorded ones")
    parser.add_argument("folder", type=Path, help="folder with config.json and weights")
    parser.add_argument("expected", type=Path, help="safetensors file with tokens and logits")
    arguments = parser.parse_args()
    for path in (arguments.folder / "config.json", arguments.expected):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    return arguments


def load_model(folder):
    """The model, and a list of what does not fit."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    return model.eval(), [f"{kind}: {sorted(info[kind])}" for kind in kinds if info[kind]]


def largest_difference(model, expected):
    with torch.no_grad():
        logits = model(expected["tokens"], use_cache=False).logits
    if logits.shape != expected["logits"].shape:
        return float("inf")
    return (logits - expected["logits"]).abs().max().item()


def main():
    arguments = read_arguments()
    model, problems = load_model(arguments.folder)
    difference = largest_difference(model, load_file(arguments.expected))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"largest difference of logits: {difference:.3g} (allowed: {TOLERANCE:g})")
    # Written so that NaN fails.
    return 0 if difference <= TOLERANCE and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
