"""Training speed and resident memory with the allocator's cache and without, side by side.

    python3 tests/benchmarks/allocator_pairs.py build/release/blockwise --rounds 5 --steps 12
    python3 tests/benchmarks/allocator_pairs.py build/release/blockwise --rounds 1 --steps 3 --layers 1 --width 64

Each round runs every arm once, in an order that turns from round to round, so that what else the
machine does falls on all of them; a line per run, and per precision the medians and the ratios to
`system`, with the smallest and largest over the rounds. Arms:

    cache   as the program starts (core/memory/caching_allocator.hpp)
    system  BLOCKWISE_ALLOCATOR=system: the C library alone
    heap    the C library with thresholds that keep every freed block in its heap

The model is a GPT of 30 million parameters with a vocabulary of 50,304 on made up tokens. Five
rounds of 12 steps take about 20 minutes on two idle cores, and 3 GiB. Needs Python alone.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

VOCABULARY, TOKENS = 50304, 50257
KEPT = str(1 << 40)
ARMS: dict[str, dict[str, str]] = {
    "cache": {},
    "system": {"BLOCKWISE_ALLOCATOR": "system"},
    "heap": {"MALLOC_MMAP_THRESHOLD_": KEPT, "MALLOC_TRIM_THRESHOLD_": KEPT},
}
PRECISIONS = ("bf16_autocast", "fp32")


def write_tokens(path: Path, count: int) -> None:
    draw = random.Random(path.name)
    tokens = array.array("H", (draw.randrange(TOKENS) for _ in range(count)))
    path.write_bytes(tokens.tobytes())


def write_config(folder: Path, steps: int, layers: int, width: int) -> Path:
    for name in ("train.bin", "validation.bin"):
        write_tokens(folder / name, 200_000 if name == "train.bin" else 4_096)
    config = folder / "run.yaml"
    config.write_text(
        f"""name: allocator
data: {{train: {folder}/train.bin, validation: {folder}/validation.bin, format: raw_uint16,
       vocab_size: {TOKENS}, sequence_length: 256, validation_tokens: 2048}}
model: {{family: gpt2, vocab_size: {VOCABULARY}, n_layer: {layers}, n_head: {max(1, width // 64)},
        n_embd: {width}, tie_word_embeddings: true}}
optimizer: {{rule: adamw, learning_rate: 3.0e-4}}
schedule: {{warmup_steps: 1}}
trainer: {{steps: {steps}, micro_batch_size: 4, global_batch_tokens: 2048, evaluate_every: 0,
          checkpoint_every: 0}}
""",
        encoding="utf-8",
    )
    return config


def clean_environment(arm: str) -> dict[str, str]:
    chosen = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "BLOCKWISE_ALLOCATOR")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(chosen)}
    return kept | ARMS[arm]


def train(program: str, config: Path, arm: str, precision: str) -> tuple[float, float]:
    """Median tokens per second of the steps, and the peak of resident memory in MiB."""
    output = config.parent / f"{arm}-{precision}"
    words = [program, "train", str(config), "--json", "--output", str(output)]
    words += ["--set", f"trainer.precision={precision}"]
    process = subprocess.Popen(
        words, env=clean_environment(arm), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(errors.decode(errors="replace"))
    report = subprocess.run(
        [program, "report", str(output), "--json"], check=True, capture_output=True
    )
    row = json.loads(report.stdout)["configurations"][0]
    subprocess.run(["rm", "-r", str(output)], check=True)
    return float(row["tokens_per_second"]), usage.ru_maxrss / 1024


def ratio_text(values: list[float], base: list[float]) -> str:
    ratios = [a / b for a, b in zip(values, base, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def print_summary(precision: str, found: dict[str, list[tuple[float, float]]]) -> None:
    speed = {arm: [run[0] for run in runs] for arm, runs in found.items()}
    memory = {arm: [run[1] for run in runs] for arm, runs in found.items()}
    for arm in ARMS:
        print(
            f"{precision:<14} {arm:<7} {statistics.median(speed[arm]):9.0f} tokens/s, "
            f"{ratio_text(speed[arm], speed['system'])} of system's; "
            f"{statistics.median(memory[arm]):7.0f} MiB, "
            f"{ratio_text(memory[arm], memory['system'])}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args()
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        precision: {arm: [] for arm in ARMS} for precision in PRECISIONS
    }
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options.steps, options.layers, options.width)
        for round_number in range(options.rounds):
            for precision in PRECISIONS:
                order = list(ARMS)
                for arm in order[round_number % 3 :] + order[: round_number % 3]:
                    run = train(options.program, config, arm, precision)
                    found[precision][arm].append(run)
                    print(
                        f"round {round_number + 1} {precision:<14} {arm:<7} {run[0]:9.0f} tokens/s "
                        f"{run[1]:7.0f} MiB",
                        flush=True,
                    )
    for precision in PRECISIONS:
        print_summary(precision, found[precision])
    sys.stdout.flush()


if __name__ == "__main__":
    main()
