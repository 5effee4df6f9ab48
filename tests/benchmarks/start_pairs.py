"""How long two builds of the program take to start, side by side.

    python3 tests/benchmarks/start_pairs.py BEFORE AFTER --rounds 9
    python3 tests/benchmarks/start_pairs.py build/release/blockwise build/release/blockwise --rounds 1

Each round runs every case with both, in turns, so that what else the machine does falls on both;
shown are medians of wall and of processor seconds. "a member" is what a sweep of nine members takes
more than one of a single member, over eight: runs of one step of the quickstart's model, one at a
time, from their start to their end, so an upper bound of what it takes to start them. The data is
made up. Needs Python alone.
"""

from __future__ import annotations

import argparse
import array
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "--help": ["--help"],
    "train --help": ["train", "--help"],
    "a misspelt verb": ["trian"],
    "--version": ["--version"],
    "list schedules": ["list", "schedules"],
}
MEMBERS = 9


def write_config(folder: Path, members: int) -> Path:
    draw = random.Random(1)
    for name in ("train.bin", "validation.bin"):
        array.array("H", (draw.randrange(256) for _ in range(20_000))).tofile((folder / name).open("wb"))
    config = folder / f"sweep{members}.yaml"
    config.write_text(
        f"""name: start
data: {{train: {folder}/train.bin, validation: {folder}/validation.bin, format: raw_uint16, vocab_size: 256,
       sequence_length: 128, validation_tokens: 128}}
model: {{family: llama, n_layer: 2, n_head: 4, n_embd: 96}}
optimizer: {{rule: adamw, learning_rate: 1.0e-3}}
schedule: {{warmup_steps: 0}}
trainer: {{steps: 1, micro_batch_size: 1, evaluate_every: 0, checkpoint_every: 0}}
sweep: {{seeds: {list(range(1, members + 1))}}}
"""
    )
    return config


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds, the children's with them."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sweep_seconds(program: str, folder: Path, members: int) -> tuple[float, float]:
    output = Path(tempfile.mkdtemp(dir=folder))
    config = write_config(folder, members)
    return seconds_of([program, "sweep", str(config), "--output", str(output), "--jobs", "1"])


def member_seconds(program: str, folder: Path) -> tuple[float, float]:
    one, all_of_them = sweep_seconds(program, folder, 1), sweep_seconds(program, folder, MEMBERS)
    wall, processor = ((b - a) / (MEMBERS - 1) for a, b in zip(one, all_of_them, strict=True))
    return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    programs = {"before": options.before, "after": options.after}
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for case in [*COMMANDS, "a member"]:
                for name, program in programs.items():
                    spent = (
                        seconds_of([program, *COMMANDS[case]])
                        if case in COMMANDS
                        else member_seconds(program, Path(folder))
                    )
                    seconds.setdefault((case, name), []).append(spent)
    print(f"{'median seconds of':20}{'wall: before':>14}{'after':>8}{'processor: before':>20}{'after':>8}")
    for case in [*COMMANDS, "a member"]:
        wall = [statistics.median(w for w, _ in seconds[case, name]) for name in programs]
        processor = [statistics.median(p for _, p in seconds[case, name]) for name in programs]
        print(f"{case:20}{wall[0]:14.3f}{wall[1]:8.3f}{processor[0]:20.3f}{processor[1]:8.3f}")


if __name__ == "__main__":
    main()
