"""Writes synthetic run files and sweeps in the format of the C++ program.

Also a program: `python tests/python/make_runs.py DIR` leaves a sweep in DIR to try figures on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

STATES = {"running": 0, "finished": 1, "diverged": 2, "failed": 3, "interrupted": 4}
TOKENS_PER_STEP = 2048


@dataclass
class Section:
    """A row of /partition."""

    tensor: str
    role: str
    structure: str
    layer: int
    row_begin: int
    rows: int
    columns: int
    tile_rows: int = 1
    tile_columns: int = 1
    labels: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        return -(-self.rows // self.tile_rows), -(-self.columns // self.tile_columns)

    @property
    def blocks(self) -> int:
        down, across = self.grid
        counts = {"elements": self.rows * self.columns, "tiles": down * across, "factored": down}
        return counts.get(self.structure, self.labels)

    @property
    def state_elements(self) -> int:
        if self.structure == "factored":
            return self.rows + self.grid[0] * self.columns
        return self.blocks


@dataclass
class RunSpec:
    """What a synthetic run looks like; the default finishes after 300 steps."""

    steps: int = 300
    evaluate_every: int = 50
    rate: float = 3e-3
    seed: int = 1
    floor: float = 1.55
    final_loss: float | None = None  # of the validation set; shifts its curve
    losses: tuple[float, ...] = ()  # of the validation set, instead of its curve
    step_seconds: float | None = None  # of every step
    peak: int = 20_000_000  # bytes
    state_bytes: int | None = None  # instead of what `state` says
    energy: float | None = None  # joules
    status: str = "finished"
    message: str = ""
    config: str = "seed: 1\noptimizer:\n  rule: adamw\n  learning_rate: 0.003\n"
    rule: str = "adam_mini"
    state: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
    partition: list[Section] = field(default_factory=lambda: llama_partition(), repr=False)


def llama_partition(width: int = 96, mlp: int = 256, head: int = 24) -> list[Section]:
    """Adam-mini's partition of a small LLaMA."""

    def rows(tensor: str, role: str, layer: int, n: int, columns: int) -> Section:
        return Section(tensor, role, "tiles", layer, 0, n, columns, 1, columns)

    sections = [rows("model.embed_tokens.weight", "token_embedding", -1, 256, width)]
    for layer in range(2):
        p = f"model.layers.{layer}."
        norm = Section(p + "input_layernorm.weight", "norm", "elements", layer, 0, width, 1)
        heads = [
            Section(p + f"self_attn.{x}_proj.weight", role, "tiles", layer, 0, width, width,
                    head, width)
            for x, role in (("q", "query"), ("k", "key"))
        ]  # fmt: skip
        sections += [norm, *heads]
        sections += [
            rows(p + "self_attn.v_proj.weight", "value", layer, width, width),
            rows(p + "self_attn.o_proj.weight", "attention_output", layer, width, width),
            rows(p + "mlp.gate_proj.weight", "mlp_gate", layer, mlp, width),
            rows(p + "mlp.up_proj.weight", "mlp_in", layer, mlp, width),
            rows(p + "mlp.down_proj.weight", "mlp_out", layer, width, mlp),
        ]
    return [*sections, rows("lm_head.weight", "lm_head", -1, 256, width)]


def per_element(sections: Iterable[Section]) -> list[Section]:
    """AdamW's partition of the same tensors."""
    return [
        Section(s.tensor, s.role, "elements", s.layer, s.row_begin, s.rows, s.columns)
        for s in sections
    ]


def gpt2_partition() -> list[Section]:
    """A fused QKV of three structures, a discovered partition, uneven tiles and biases."""
    return [
        Section("wte.weight", "token_embedding", "tiles", -1, 0, 50257, 64, 1, 64),
        Section("wpe.weight", "position_embedding", "tiles", -1, 0, 128, 64, 128, 64),
        Section("h.0.attn.c_attn.weight", "query", "tiles", 0, 0, 64, 64, 16, 64),
        Section("h.0.attn.c_attn.weight", "key", "factored", 0, 64, 64, 64, 16, 1),
        Section("h.0.attn.c_attn.weight", "value", "elements", 0, 128, 64, 64),
        Section("h.0.attn.c_attn.bias", "bias", "elements", 0, 0, 192, 1),
        Section("h.0.attn.c_proj.weight", "attention_output", "tiles", 0, 0, 64, 64, 64, 16),
        Section("h.0.mlp.c_fc.weight", "mlp_in", "factored", 0, 0, 256, 64, 256, 1),
        Section("h.0.mlp.c_proj.weight", "mlp_out", "tiles", 0, 0, 64, 256, 24, 40),
        Section("lm_head.weight", "lm_head", "labels", -1, 0, 128, 64, labels=17),
    ]


# ---- one run file ------------------------------------------------------------------------------


def validation_loss(spec: RunSpec, step: np.ndarray) -> np.ndarray:
    """A falling curve whose end depends on the learning rate and a little on the seed."""
    penalty = 0.06 * (np.log2(spec.rate / 4.5e-3)) ** 2
    luck = 0.006 * np.random.default_rng(spec.seed).standard_normal()
    end = spec.floor + penalty + luck
    return end + (5.55 - end) * np.exp(-4.2 * (step / 300) ** 0.55) + 0.03 * np.exp(-step / 300)


def write_run(path: Path, spec: RunSpec) -> None:
    """A run file whose program has ended."""
    open_run(path, spec).close()


def open_run(path: Path, spec: RunSpec) -> h5py.File:
    """A run file whose program still has it open, with everything recorded and flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = h5py.File(path, "w", libver=("v110", "v110"))
    _write_header(file, spec)
    _write_memory(file, spec)
    _write_partition(file, spec)
    _write_status(file, spec)
    for name, rows in (("steps", _steps(spec)), ("evaluations", _evaluations(spec))):
        for column, values in rows.items():
            _column(file, f"{name}/{column}", values.dtype)
    file.swmr_mode = True
    append(file, "steps", _steps(spec))
    append(file, "evaluations", _evaluations(spec))
    return file


def append(file: h5py.File, group: str, rows: dict[str, np.ndarray]) -> None:
    for name, values in rows.items():
        dataset = file[f"{group}/{name}"]
        begin = len(dataset)
        dataset.resize((begin + len(values),))
        dataset[begin:] = values
    file.flush()


def _text(value: str, size: int = 0) -> np.ndarray:
    encoded = value.encode()
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(size, len(encoded), 1)))


def _describe(dataset: h5py.Dataset) -> None:
    dataset.attrs["units"] = _text("1")
    dataset.attrs["description"] = _text(f"synthetic {dataset.name}")


def _scalar(file: h5py.File, name: str, value: Any, dtype: Any = "i8") -> None:
    _describe(file.create_dataset(name, data=value, dtype=dtype))


def _column(file: h5py.File, name: str, dtype: Any) -> None:
    _describe(file.create_dataset(name, (0,), dtype=dtype, maxshape=(None,), chunks=(1024,)))


def _write_header(file: h5py.File, spec: RunSpec) -> None:
    file.attrs["format"] = _text("blockwise-run")
    file.attrs["format_version"] = np.int64(1)
    config = _text(spec.config)
    _scalar(file, "config/yaml", config, config.dtype)
    file["config"].attrs["hash"] = _text("0123456789abcdef")
    provenance = file.create_group("provenance")
    for name in ("program_version", "git_commit", "compiler", "torch_version", "hdf5_version",
                 "simd_target", "device"):  # fmt: skip
        provenance.attrs[name] = _text(f"some {name}")
    provenance.attrs["started_at"] = _text("2026-01-02T03:04:05Z")
    provenance.attrs["threads"] = np.int64(2)
    provenance.attrs["seed"] = np.int64(spec.seed)


def _write_memory(file: h5py.File, spec: RunSpec) -> None:
    parameters = sum(s.rows * s.columns for s in spec.partition)
    values = sum(s.state_elements for s in spec.partition)
    state = {name: 4 * (values if name == "exp_avg_sq" else parameters) for name in spec.state}
    total = sum(state.values()) if spec.state_bytes is None else spec.state_bytes
    sizes = {
        "parameters": 4 * parameters,
        "gradients": 4 * parameters,
        "optimizer_state": total,
        "peak_allocated": spec.peak,
        "peak_resident": 300_000_000,
    }
    for name, size in (sizes | {f"state/{name}": size for name, size in state.items()}).items():
        _scalar(file, f"memory/{name}", size)
    if spec.energy is not None:
        _scalar(file, "energy/microjoules", round(1e6 * spec.energy))


def _write_partition(file: h5py.File, spec: RunSpec) -> None:
    file.create_group("partition").attrs["rule"] = _text(spec.rule)
    for name in ("tensor", "role", "structure"):
        values = [getattr(section, name).encode() for section in spec.partition]
        dtype = h5py.string_dtype("utf-8", max(map(len, values)))
        _describe(file.create_dataset(f"partition/{name}", data=np.array(values, dtype=dtype)))
    for name in ("layer", "row_begin", "rows", "columns", "tile_rows", "tile_columns", "blocks",
                 "state_elements"):  # fmt: skip
        values = [getattr(section, name) for section in spec.partition]
        _describe(file.create_dataset(f"partition/{name}", data=values, dtype="i8"))


def _write_status(file: h5py.File, spec: RunSpec) -> None:
    _scalar(file, "status/state", STATES[spec.status], h5py.enum_dtype(STATES, basetype="i1"))
    message = _text(spec.message, 256)
    _scalar(file, "status/message", message, message.dtype)
    _scalar(file, "status/last_step", spec.steps)


def _steps(spec: RunSpec) -> dict[str, np.ndarray]:
    step = np.arange(1, spec.steps + 1, dtype="i8")
    noise = np.random.default_rng([spec.seed, 7]).standard_normal((4, spec.steps))
    fraction = np.minimum(step / 30, 0.525 + 0.475 * np.cos(np.pi * step / 300))
    parts = {
        "seconds_data": 0.0004 * np.exp(0.1 * noise[0]),
        "seconds_forward": 0.021 * np.exp(0.05 * noise[1]),
        "seconds_backward": 0.040 * np.exp(0.05 * noise[2]),
        "seconds_optimizer": 0.0013 * np.exp(0.1 * noise[0]),
    }
    seconds = sum(parts.values()) + 0.0006
    if spec.step_seconds is not None:
        seconds = np.full(spec.steps, spec.step_seconds)
    return {
        "step": step,
        "tokens": step * TOKENS_PER_STEP,
        "loss": validation_loss(spec, step) - 0.03 + 0.05 * noise[3],
        "learning_rate": spec.rate * fraction,
        "grad_norm": 0.5 + 2.5 * np.exp(-step / 40) * np.exp(0.2 * noise[0]) + 0.06 * noise[1],
        "update_norm": 30 * spec.rate * fraction,
        "seconds": seconds,
        **parts,
        "tokens_per_second": TOKENS_PER_STEP / seconds,
    }


def _evaluations(spec: RunSpec) -> dict[str, np.ndarray]:
    step = np.arange(0, spec.steps + 1, spec.evaluate_every, dtype="i8")
    loss = validation_loss(spec, step)
    if spec.final_loss is not None:
        loss += spec.final_loss - loss[-1]
    if spec.losses:
        loss = np.array(spec.losses)
    return {
        "step": step,
        "tokens": step * TOKENS_PER_STEP,
        "loss": loss,
        "perplexity": np.exp(loss),
        "seconds": np.full(len(step), 0.4),
    }


# ---- a sweep -----------------------------------------------------------------------------------

Change = Callable[[str, RunSpec], RunSpec | None]
RATES = (1.5e-3, 3.0e-3, 6.0e-3, 1.2e-2)
SEEDS = (1, 2, 3)
CONFIRM_SEEDS = (11, 12, 13, 14)


def member_id(group: str, rate: float, seed: int) -> str:
    return f"{group}-lr{rate:g}-s{seed}"


def _spec(group: str, rate: float, seed: int) -> RunSpec:
    mini = group == "adam_mini"
    return RunSpec(
        rate=rate,
        seed=seed,
        floor=1.57 if mini else 1.55,
        rule="adam_mini" if mini else "per_element",
        partition=llama_partition() if mini else per_element(llama_partition()),
    )


def write_sweep(
    folder: Path,
    change: Callable[[str, RunSpec], RunSpec | None] | None = None,
    confirmed: Iterable[tuple[str, float, int]] = (),
) -> Path:
    """A sweep of two groups, four learning rates and three seeds.

    `change` may alter a member's run or leave it out (None). Without it every run finished.
    `confirmed`: group, rate and seed of confirmations.
    """

    def add(group: str, rate: float, seed: int) -> dict[str, Any]:
        name = member_id(group, rate, seed)
        spec: RunSpec | None = _spec(group, rate, seed)
        spec = change(name, spec) if change else spec
        if spec is not None:
            write_run(folder / "members" / name / "run.h5", spec)
        return _manifest_entry(name, group, rate, seed)

    groups = ("adamw", "adam_mini")
    members = [add(group, rate, seed) for group in groups for rate in RATES for seed in SEEDS]
    confirmations = [add(*plan) for plan in confirmed]
    return _write_manifest(folder, "quickstart", "adamw", members, confirmations)


def _write_manifest(
    folder: Path,
    name: str,
    baseline: str,
    members: list[dict[str, Any]],
    confirmations: Sequence[dict[str, Any]] = (),
) -> Path:
    manifest = {"format": "blockwise-sweep", "version": 1, "name": name,
                "hash": "fedcba9876543210", "baseline": baseline, "members": members}  # fmt: skip
    if confirmations:  # older manifests and sweeps without any have no such key
        manifest["confirmations"] = list(confirmations)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


def _manifest_entry(name: str, group: str, rate: float, seed: int) -> dict[str, Any]:
    overrides: dict[str, Any] = {"optimizer.rule": group, "optimizer.learning_rate": rate}
    if group == "adam_mini":
        overrides["optimizer.partition.rule"] = "adam_mini"
    return _entry(name, group, seed, overrides)


def _entry(name: str, group: str, seed: int, overrides: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "group": group, "seed": seed, "overrides": overrides,
            "config": f"members/{name}/config.yaml", "run": f"members/{name}/run.h5"}  # fmt: skip


@dataclass
class PlannedRun:
    """A member of a sweep; without a spec it has not begun."""

    group: str
    seed: int
    overrides: dict[str, Any]
    spec: RunSpec | None
    confirmed: bool = False
    """Whether it confirms the best configuration of its group."""


def write_planned(folder: Path, baseline: str, runs: Iterable[PlannedRun]) -> Path:
    """A sweep of any members."""
    members, confirmations = [], []
    for number, run in enumerate(runs):
        name = f"{run.group}-{number}-s{run.seed}"
        entry = _entry(name, run.group, run.seed, run.overrides)
        (confirmations if run.confirmed else members).append(entry)
        if run.spec is not None:
            write_run(folder / "members" / name / "run.h5", run.spec)
    return _write_manifest(folder, folder.name, baseline, members, confirmations)


def usual_accidents(name: str, spec: RunSpec) -> RunSpec | None:
    """A diverged run, an interrupted one and one that has not begun."""
    if name == member_id("adamw", 1.2e-2, 2):
        spec.status, spec.steps, spec.message = "diverged", 120, "loss nan at step 120"
    if name == member_id("adam_mini", 1.5e-3, 3):
        spec.status, spec.steps, spec.message = "interrupted", 200, "stopped by a signal"
    return None if name == member_id("adam_mini", 1.2e-2, 3) else spec


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="writes a synthetic sweep to try figures on")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accidents", action="store_true", help="with runs that did not finish")
    parser.add_argument("--confirmed", action="store_true", help="with confirmations on four seeds")
    arguments = parser.parse_args()
    confirmed = [(group, 6e-3, seed) for group in ("adamw", "adam_mini") for seed in CONFIRM_SEEDS]
    write_sweep(
        arguments.folder,
        usual_accidents if arguments.accidents else None,
        confirmed if arguments.confirmed else (),
    )
