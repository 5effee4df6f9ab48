"""A run file as data frames.

A run folder holds `run.h5` (HDF5, one file per run). Nothing here writes, and nothing needs the C++
program: files are opened in single-writer-multiple-reader mode, so a run can be read while it is
being written, and after its program was killed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from .folder_kind import other_reader
from .hdf5_file import (
    TEXT,
    FileKind,
    RunFileError,
    column,
    read_file,
    read_frame,
    read_processes,
    read_provenance,
    read_status,
    rows_of_numbers,
    scalar_integer,
    scalar_text,
    subgroup,
    text,
    text_attribute,
)
from .short_repr import plural, screen

# Datasets appear in a frame in this order; further ones follow by name.
_STEP_COLUMNS = (
    "step", "tokens", "loss", "learning_rate", "grad_norm", "update_norm", "seconds",
    "seconds_data", "seconds_forward", "seconds_backward", "seconds_optimizer",
    "tokens_per_second",
)  # fmt: skip
_EVALUATION_COLUMNS = ("step", "tokens", "loss", "perplexity", "seconds")
_PARTITION_TEXTS = ("tensor", "role", "structure")
_PARTITION_INTEGERS = (
    "layer", "row_begin", "rows", "columns", "tile_rows", "tile_columns", "blocks",
    "state_elements",
)  # fmt: skip
_COUNTS = ("step", "tokens")


@dataclass(frozen=True, eq=False)
class Run:
    """One training run, as far as it was recorded when the file was read.

    steps: a row per optimizer step. step; tokens (seen so far); loss (training, nats per token);
        learning_rate; grad_norm (before clipping); update_norm; seconds (whole step) and its parts
        seconds_data, seconds_forward, seconds_backward, seconds_optimizer; tokens_per_second.
    evaluations: a row per evaluation on the validation set. step; tokens; loss (nats per token);
        perplexity; seconds; and loss_NAME of each of `data.validations`.
    memory: bytes by name: parameters, gradients, optimizer_state, peak_allocated, peak_resident,
        and `state/KIND` for every kind of optimizer state (`state/exp_avg`, `state/exp_avg_sq`).
        The peaks are 0 until they were first measured.
    partition: a row per section of a tensor. tensor; role; structure (elements, tiles, factored or
        labels); layer (-1: none); row_begin; rows; columns; tile_rows; tile_columns; blocks;
        state_elements (values of the second moment).
    processes: a row per process that worked on the run, in their order. from_step (the first step
        that it took); threads; program_version, device and the rest of `provenance`, which is the
        first process's.
    norms: a row per tensor and step of `trainer.norms_every`; empty without it. step; tensor;
        gradient (before clipping), update, weight (after the step): L2 norms; rate: the
        tensor's learning rate, the mean over its blocks, where the file has it.
    energy_joules: of processors and memory by their own counters, over all processes of the run
        and with whatever else the machine did; NaN where it has no such counters.
    paging: of state and masters that are in a file, over all processes: bytes_read, bytes_written,
        seconds_waited (of steps, for either); empty where everything is in memory.
    status: running, finished, diverged, failed or interrupted. A program that was killed had no
        time to change `running`.
    """

    path: Path
    config: str
    hash: str
    provenance: dict[str, str | int]
    processes: pd.DataFrame
    steps: pd.DataFrame
    evaluations: pd.DataFrame
    memory: pd.Series
    partition_rule: str
    partition: pd.DataFrame
    norms: pd.DataFrame
    energy_joules: float
    paging: pd.Series
    status: str
    message: str
    last_step: int

    def __repr__(self) -> str:
        what = f"Run, {self.status} after {plural(self.last_step, 'step')}"
        lines = [self.message] if self.message else []
        if len(self.steps):
            step, loss = self.steps["step"].iloc[-1], self.steps["loss"].iloc[-1]
            lines.append(f"training loss {loss:.4f} at step {step}")
        if len(self.evaluations):
            step, loss = self.evaluations["step"].iloc[-1], self.evaluations["loss"].iloc[-1]
            best = self.evaluations["loss"].min()
            lines.append(f"validation loss {loss:.4f} at step {step}, lowest {best:.4f}")
        values = self.partition["state_elements"].sum()
        lines.append(f"partition {self.partition_rule}: {values} second moments")
        lines.append("tables: steps, evaluations, memory, partition, processes")
        return screen(what, self.path, lines)

_RUN_FILE = FileKind(
    formats=("blockwise-run",),
    name="run",
    give="Give the run.h5 of a run folder, which `blockwise train` or `blockwise sweep` wrote",
    missing="A run writes it when it starts: start the run, or give the path of a run.h5",
    remedy="give the command that made it again: it goes on from the run's last checkpoint, or, where "
    "there is none, from the start",
)


def read_run(path: str | os.PathLike[str]) -> Run:
    """Reads a run file, or the `run.h5` of a run folder.

    Works on a file that is being written and on one whose writer was killed; then the frames hold
    what had been flushed. Raises RunFileError for a file that is missing, no HDF5, not a run file
    or damaged.
    """
    file_path = _run_file(Path(path))
    return read_file(file_path, _RUN_FILE, lambda file: _run(file_path, file))


def _run_file(path: Path) -> Path:
    file_path = path / "run.h5" if path.is_dir() else path
    if not file_path.exists() or path.name == "manifest.json":
        other = other_reader(path)
        if other:
            raise RunFileError(f"{path}: no run. {other}")
    return file_path


def _run(path: Path, file: h5py.File) -> Run:
    partition = subgroup(file, "partition")
    status, message = read_status(file)
    # One that runs or was killed may have written some of the columns of its last rows.
    growing = status in ("running", "failed")
    return Run(
        path=path,
        config=scalar_text(file, "config/yaml"),
        hash=text_attribute(subgroup(file, "config"), "hash"),
        provenance=read_provenance(file),
        processes=read_processes(file),
        steps=_history(subgroup(file, "steps"), _STEP_COLUMNS, growing),
        evaluations=_history(subgroup(file, "evaluations"), _EVALUATION_COLUMNS, growing),
        memory=_memory(subgroup(file, "memory")),
        partition_rule=text_attribute(partition, "rule"),
        partition=read_frame(
            partition,
            (*_PARTITION_TEXTS, *_PARTITION_INTEGERS),
            texts=_PARTITION_TEXTS,
            integers=_PARTITION_INTEGERS,
        ),
        norms=_norms(file),
        energy_joules=_energy(file),
        paging=_paging(file),
        status=status,
        message=message,
        last_step=scalar_integer(file, "status/last_step"),
    )


def _energy(file: h5py.File) -> float:
    if "energy" not in file:
        return math.nan
    microjoules = scalar_integer(file, "energy/microjoules")
    return microjoules / 1e6 if microjoules >= 0 else math.nan


def _paging(file: h5py.File) -> pd.Series:
    if "paging" not in file:
        return pd.Series(dtype=float)
    waited = scalar_integer(file, "paging/microseconds_waited") / 1e6
    names = ("bytes_read", "bytes_written")
    return pd.Series(
        {name: scalar_integer(file, f"paging/{name}") for name in names} | {"seconds_waited": waited}
    )


def _norms(file: h5py.File) -> pd.DataFrame:
    names = ("gradient", "update", "weight", "rate")
    if "norms" not in file:
        return pd.DataFrame(columns=["step", "tensor", *names])
    group = subgroup(file, "norms")
    names = tuple(name for name in names if name in group)  # files of before have no rate
    tensors = [text(name) for name in column(group, "tensor", TEXT)]
    tables = {name: rows_of_numbers(group, name) for name in names}
    for name, table in tables.items():
        if table.shape[1] != len(tensors):
            raise ValueError(f"{group.name}/{name}: not {len(tensors)} numbers per row")
    steps = column(group, "step")
    rows = min(len(steps), *(len(table) for table in tables.values()))
    index = {"step": np.repeat(steps[:rows], len(tensors)), "tensor": tensors * rows}
    return pd.DataFrame(index | {name: table[:rows].ravel() for name, table in tables.items()})


def _history(group: h5py.Group, columns: Sequence[str], growing: bool) -> pd.DataFrame:
    return _growing_rows(read_frame(group, columns, integers=_COUNTS, growing=growing))


def _growing_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows up to the first whose step does not go on.

    A reader may see rows that a writer has announced and not yet filled; they are zero.
    """
    step = frame["step"].to_numpy()
    stops = np.flatnonzero(np.diff(step) <= 0)
    return frame if len(stops) == 0 else frame.iloc[: stops[0] + 1]


def _memory(group: h5py.Group) -> pd.Series:
    sizes: dict[str, int] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            sizes[name] = scalar_integer(group, name)

    group.visititems(collect)
    return pd.Series(sizes, name="bytes", dtype="int64")
