"""Processes on hosts of their own: step time, and bytes on the wire beside the formula.

Each process gets a network namespace, joined by a bridge whose links can be slowed down, so that one
machine stands for several (root, `ip` and `tc` of iproute2). Every setting runs for a few and for
more steps; what differs is what steps cost, without start, evaluation and end.

    sudo PATH="$PATH" .venv/bin/python tests/benchmarks/ranks/ranks.py configs/gpt2-tiny.yaml \\
        --set trainer.micro_batch_size=2 --output ranks.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np
from hosts import hosts, sent_bytes, start


@dataclass
class Setting:
    ranks: int
    mbit: int
    bucket_mb: int
    shard: str


@dataclass
class Measured:
    setting: Setting
    seconds_per_step: float
    sent_per_step: float  # bytes, mean over ranks
    planned_per_step: float
    optimizer_bytes: int  # of rank 0


def configured(config: list[str], setting: Setting, steps: int) -> list[str]:
    """config: a YAML and what is set of it."""
    values = {
        "trainer.steps": steps,
        "trainer.evaluate_every": 0,
        "trainer.checkpoint_every": 0,
        "schedule.steps": 0,
        "schedule.warmup_steps": 0,
        "parallel.bucket_mb": setting.bucket_mb,
        "parallel.shard": setting.shard,
    }
    return [*config, *(word for item in values.items() for word in ("--set", "{}={}".format(*item)))]


def planned(program: str, config: list[str], setting: Setting) -> float:
    """Bytes that each rank sends in a step, as `plan` says."""
    if setting.ranks == 1:
        return 0.0
    words = [program, "plan", *configured(config, setting, 1), "--ranks", str(setting.ranks), "--json"]
    plan = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return float(plan["each_rank"]["sent_bytes"])


def run(
    program: str, config: list[str], setting: Setting, steps: int, folder: Path
) -> tuple[int, Path]:
    """Bytes that all ranks sent, and the run's file."""
    shutil.rmtree(folder, ignore_errors=True)
    words = ["train", *configured(config, setting, steps), "--output", str(folder), "--threads", "1"]
    before = sum(sent_bytes(rank) for rank in range(setting.ranks))
    processes = [start(program, words, rank, setting.ranks) for rank in range(setting.ranks)]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"{setting}: exit codes {codes}")
    return sum(sent_bytes(rank) for rank in range(setting.ranks)) - before, folder / "run.h5"


def measure(program: str, config: list[str], setting: Setting, steps: int) -> Measured:
    few = 3
    with hosts(setting.ranks, setting.mbit), tempfile.TemporaryDirectory() as scratch:
        little, _ = run(program, config, setting, few, Path(scratch) / "few")
        much, path = run(program, config, setting, few + steps, Path(scratch) / "more")
        with h5py.File(path) as file:
            seconds = float(np.median(file["steps/seconds"][few:]))
            optimizer = int(file["memory/optimizer_state"][()])
    sent = (much - little) / steps / setting.ranks
    return Measured(setting, seconds, sent, planned(program, config, setting), optimizer)


def settings(most: int) -> list[Setting]:
    counts = [count for count in (1, 2, 4, 8) if count <= most]
    by_ranks = [Setting(count, 0, 25, "none") for count in counts]
    shards = ("optimizer", "gradients", "parameters")
    sharded = [Setting(count, 0, 25, shard) for count in counts if count > 1 for shard in shards]
    slow = [Setting(2, 1000, bucket, "none") for bucket in (1, 5, 25, 100)]
    return by_ranks + sharded + slow


def table(rows: list[Measured]) -> str:
    lines = [
        "| hosts | link | bucket | shard | s/step | MB sent per rank and step | planned | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        s = row.setting
        link = f"{s.mbit} Mbit/s" if s.mbit else "-"
        ratio = row.sent_per_step / row.planned_per_step if row.planned_per_step else float("nan")
        lines.append(
            f"| {s.ranks} | {link} | {s.bucket_mb} MiB | {s.shard} | {row.seconds_per_step:.3f} "
            f"| {row.sent_per_step / 1e6:.2f} | {row.planned_per_step / 1e6:.2f} | {ratio:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", help="YAML of a run")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for every run")
    parser.add_argument("--program", default="build/release/blockwise")
    parser.add_argument("--steps", type=int, default=10, help="steps that count")
    parser.add_argument("--hosts", type=int, default=4, help="at most")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    config = [arguments.config, *(word for each in arguments.set for word in ("--set", each))]
    rows = []
    for setting in settings(arguments.hosts):
        rows.append(measure(arguments.program, config, setting, arguments.steps))
        print(table(rows).splitlines()[-1], file=sys.stderr)
    print(table(rows))
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
