"""A fresh clone in which the documents' commands are tried: everything that git knows, small data
where users have large ones, and small runs where the documents' take minutes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]

# What the documents run for minutes, in seconds. Everything else of these files is as it is.
SMALL: dict[str, dict[str, Any]] = {
    "configs/gpt2-tiny.yaml": {
        "model.n_layer": 1, "model.n_embd": 16, "data.validation_tokens": 512,
        "trainer.steps": 4, "trainer.micro_batch_size": 2, "trainer.global_batch_tokens": 256,
        "trainer.evaluate_every": 2, "trainer.checkpoint_every": 2, "schedule.warmup_steps": 2,
        "hessian.batch_size": 2, "hessian.lanczos.steps": 8, "search_lr.samples": 2,
    },
    "configs/quickstart.yaml": {
        "model.n_layer": 1, "model.n_embd": 16, "data.validation_tokens": 512,
        "trainer.steps": 3, "trainer.micro_batch_size": 2, "trainer.evaluate_every": 0,
        "schedule.warmup_steps": 1, "sweep.seeds": [1, 2], "hessian.batch_size": 2,
        "sweep.parameters": {"optimizer.learning_rate": {"values": [0.003]}},
    },
}  # fmt: skip


def tracked_files() -> list[str]:
    """What a clone of the present state would hold; everything but outputs where there is no git."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode == 0 and result.stdout:
        return [name for name in result.stdout.split("\0") if (ROOT / name).is_file()]
    left_out = {".git", ".venv", "build", "data", "runs"}
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [str(path) for path in files if path.parts[0] not in left_out]


def shrink(path: Path, settings: dict[str, Any]) -> None:
    """Sets dotted keys of a YAML file."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in settings.items():
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def byte_symbols() -> list[str]:
    """GPT-2's visible character for every byte: itself, or one from 256 on."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def write_user_files(clone: Path) -> None:
    """What the documents take for granted that a user has."""
    text = 8 * (ROOT / "LICENSE").read_text(encoding="utf-8")  # more than 32,768 tokens
    for name in ("a.txt", "b.txt", "input.txt"):
        (clone / name).write_text(text, encoding="utf-8")
    symbols = [*byte_symbols(), "<|endoftext|>", "th"]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    (clone / "encoder.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (clone / "vocab.bpe").write_text("#version: 0.2\nt h\n", encoding="utf-8")
    shutil.copy2(ROOT / "tests/golden/rules/inputs.safetensors", clone / "recorded.safetensors")
    tokens = (np.arange(4000) * 7919 % 50257).astype("<u2")
    for name in ("train.bin", "val.bin"):
        tokens.tofile(clone / name)


def write_tokens(clone: Path, program: Path) -> None:
    """Token files under every name that a configuration reads, with vocabularies of that size."""
    sizes = {"openwebtext": 50257, "llama": 32000, "bpe32000": 32000, "bpe16384": 16384}
    named = set[str]()
    for path in (clone / "configs").rglob("*.yaml"):
        named.add(str(yaml.safe_load(path.read_text())["data"].get("train", "")))
    for folder in {Path(name).parent for name in named if name.startswith("data/")}:
        words = ["--train", "LICENSE", "--validation", "CONTRIBUTING.md", "--output", str(folder)]
        subprocess.run([program, "data", *words], cwd=clone, check=True, capture_output=True)
        manifest = clone / folder / "manifest.json"
        content = json.loads(manifest.read_text())
        size = next((size for part, size in sizes.items() if part in folder.name), 256)
        content["vocab_size"] = size
        manifest.write_text(json.dumps(content))


def named_partitions(config: Path) -> list[str]:
    """The partition files that groups of a sweep name."""
    sweep = yaml.safe_load(config.read_text(encoding="utf-8")).get("sweep", {})
    settings = [group.get("set", {}) for group in sweep.get("groups", [])]
    files = [setting.get("optimizer.partition.file") for setting in settings]
    return [str(file) for file in files if file]


def write_partitions(clone: Path, program: Path) -> None:
    """Those that searches of minutes would have left: one by the cheapest criterion stands for all."""
    for config in sorted((clone / "configs/studies").glob("*.yaml")):
        missing = named_partitions(config)
        if not missing:
            continue
        words = ["--objective", "signal_to_noise", "--max-state", "1", "--output", "stand-in"]
        command = [program, "partition", str(config.relative_to(clone)), *words]
        subprocess.run(command, cwd=clone, check=True, capture_output=True)
        for name in missing:
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(clone / "stand-in/partition.yaml", clone / name)
        shutil.rmtree(clone / "stand-in")


def make_clone(clone: Path, program: Path) -> None:
    for name in tracked_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    for name, settings in SMALL.items():
        shrink(clone / name, settings)
    (clone / "build/release").mkdir(parents=True)
    (clone / "build/release/blockwise").symlink_to(program)
    (clone / ".venv").symlink_to(ROOT / ".venv")
    write_user_files(clone)
    write_tokens(clone, program)
    write_partitions(clone, program)


def environment(clone: Path) -> dict[str, str]:
    """As docs/install.md says it, with the package of the clone; one thread, a home of its own."""
    return os.environ | {
        "PATH": f"{clone}/build/release:{os.environ['PATH']}",
        "PYTHONPATH": f"{clone}/python:{clone}/notebooks",
        "HOME": str(clone),
        "OMP_NUM_THREADS": "1",
    }
