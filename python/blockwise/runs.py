"""Run files and sweep folders as data frames.

A run folder holds `run.h5` (HDF5, one file per run); a sweep folder holds `manifest.json` and one
run folder per member. Nothing here writes, and nothing needs the C++ program: files are opened in
single-writer-multiple-reader mode, so a run can be read while it is being written, and after its
program was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

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
from .intervals import mean_interval
from .json_file import read_json
from .short_repr import plural, screen

Override: TypeAlias = int | float | str | bool

LEARNING_RATE = "optimizer.learning_rate"
"""The override that most sweeps vary."""

MISSING = "missing"
"""Status of a member whose run has not been started."""
UNREADABLE = "unreadable"
"""Status of a member whose run file is damaged, or of another configuration."""

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
        gradient (before clipping), update, weight (after the step): L2 norms.
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


@dataclass(frozen=True)
class Member:
    """One planned run of a sweep. Members that differ only in the seed are one configuration."""

    id: str
    group: str
    seed: int
    overrides: dict[str, Override]
    run: Path
    hash: str = ""
    """Of the configuration that it is to have run; empty in manifests of an earlier version."""
    confirmed: bool = False
    """Whether it runs the best configuration of its group again, on a seed that chose nothing."""
    steps: int = 0
    """That it is to have; 0 in manifests of an earlier version."""
    shorter: tuple[str, ...] = ()
    """The hash under lengths that it had before `trainer.steps` grew: its run may be one of those."""

    @property
    def configuration(self) -> tuple[str, tuple[tuple[str, Override], ...]]:
        return self.group, tuple(sorted(self.overrides.items()))

    @property
    def learning_rate(self) -> float:
        """Peak learning rate where the sweep sets it, otherwise NaN."""
        value = self.overrides.get(LEARNING_RATE, np.nan)
        return float(value) if isinstance(value, int | float) else np.nan


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep's plan and the runs that exist so far.

    members: those that choose the best configuration of each group. confirmations: that
    configuration again, on seeds that chose nothing (`sweep.confirm`, `blockwise report
    --confirm`); empty where the sweep has none. runs: of both, by member id. unreadable: member id to the error, for run files that are damaged or that
    ran another configuration than the manifest says; one such file does not hide the others.
    """

    folder: Path
    name: str
    hash: str
    baseline: str
    members: tuple[Member, ...]
    runs: dict[str, Run]
    unreadable: dict[str, str]
    confirmations: tuple[Member, ...] = ()

    def __repr__(self) -> str:
        counts: dict[str, dict[str, int]] = {group: {} for group in self.groups}
        for member in self.all_members:
            of_group, status = counts.setdefault(member.group, {}), self.status(member)
            status = f"{status} to confirm" if member.confirmed else status
            of_group[status] = of_group.get(status, 0) + 1
        width = max((len(group) for group in counts), default=0)
        lines = [
            f"{group:{min(width, 40)}}  " + ", ".join(f"{n} {status}" for status, n in of.items())
            for group, of in counts.items()
        ]
        runs, groups = plural(len(self.all_members), "run"), plural(len(counts), "group")
        return screen(f"Sweep of {runs}, {groups}", self.folder, lines)

    @property
    def all_members(self) -> tuple[Member, ...]:
        """Members and confirmations."""
        return self.members + self.confirmations

    @property
    def groups(self) -> list[str]:
        """Group names, the baseline first, then in the manifest's order."""
        names = list(dict.fromkeys(member.group for member in self.members))
        return sorted(names, key=lambda name: name != self.baseline)

    def status(self, member: Member) -> str:
        """The status of the member's run, or `missing` or `unreadable`."""
        if member.id in self.runs:
            return self.runs[member.id].status
        return UNREADABLE if member.id in self.unreadable else MISSING

    def final_loss(self, member: Member) -> float:
        """Last validation loss of a run that finished, otherwise NaN."""
        run = self.runs.get(member.id)
        if run is None or run.status != "finished" or run.evaluations.empty:
            return np.nan
        return float(run.evaluations["loss"].iloc[-1])

    def diverged(self, member: Member) -> bool:
        """Whether the run diverged, or finished with a loss that is not finite."""
        run = self.runs.get(member.id)
        if run is None or run.status == "diverged":
            return run is not None
        finished = run.status == "finished" and not run.evaluations.empty
        return finished and not np.isfinite(self.final_loss(member))


# ---- one run -----------------------------------------------------------------------------------

_RUN_FILE = FileKind(
    formats=("blockwise-run",),
    name="run",
    give="Give the run.h5 of a run folder, which `blockwise train` or `blockwise sweep` wrote",
    missing="A run writes it when it starts: start the run, or give the path of a run.h5",
    remedy="delete the run's folder and start the run again",
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
        status=status,
        message=message,
        last_step=scalar_integer(file, "status/last_step"),
    )


def _norms(file: h5py.File) -> pd.DataFrame:
    names = ("gradient", "update", "weight")
    if "norms" not in file:
        return pd.DataFrame(columns=["step", "tensor", *names])
    group = subgroup(file, "norms")
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


# ---- a sweep -----------------------------------------------------------------------------------


def read_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """Reads a sweep's manifest and those of its runs that exist.

    Raises RunFileError for a manifest that is missing or not one; a damaged run file is listed in
    `Sweep.unreadable` instead.
    """
    folder_path = Path(folder)
    if folder_path.name == "manifest.json" and folder_path.is_file():
        folder_path = folder_path.parent
    manifest = _manifest(folder_path / "manifest.json")
    try:
        members = tuple(_member(folder_path, entry) for entry in manifest["members"])
        confirmations = tuple(
            replace(_member(folder_path, entry), confirmed=True)
            for entry in manifest.get("confirmations", [])
        )
        name, hash_, baseline = (str(manifest[key]) for key in ("name", "hash", "baseline"))
    except KeyError as error:
        raise RunFileError(f"{folder_path / 'manifest.json'}: incomplete: no {error}") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise RunFileError(f"{folder_path / 'manifest.json'}: not of its format: {error}") from error
    runs: dict[str, Run] = {}
    unreadable: dict[str, str] = {}
    for member in members + confirmations:
        try:
            if member.run.exists():
                runs[member.id] = _planned_run(member)
        except (OSError, RunFileError) as error:
            unreadable[member.id] = str(error)
    return Sweep(folder_path, name, hash_, baseline, members, runs, unreadable, confirmations)


def _planned_run(member: Member) -> Run:
    run = read_run(member.run)
    if member.hash and run.hash not in (member.hash, *member.shorter):
        raise RunFileError(
            f"{member.run}: the member {member.id} ran another configuration (hash {run.hash}) "
            f"than the manifest says ({member.hash}). Delete its folder and run the sweep again."
        )
    if run.status == "finished" and run.last_step < member.steps:
        return replace(run, status="interrupted", message=f"is to go on to {member.steps} steps")
    return run


_GIVE_SWEEP = "Give the folder that `blockwise sweep` writes to."


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        other = other_reader(path.parent)
        raise RunFileError(f"{path}: there is no such file. {other or _GIVE_SWEEP}") from None
    except NotADirectoryError:
        other = other_reader(path.parent)
        raise RunFileError(f"{path.parent}: no folder of a sweep. {other or _GIVE_SWEEP}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunFileError(f"{path}: cannot be read as JSON: {reason}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "blockwise-sweep":
        raise RunFileError(f"{path}: not the manifest of a sweep")
    if manifest.get("version") != 1:
        raise RunFileError(f"{path}: version {manifest.get('version')}, this reader knows 1")
    return manifest


def _member(folder: Path, entry: dict[str, Any]) -> Member:
    overrides = {
        name: value if isinstance(value, Override) else json.dumps(value)
        for name, value in entry["overrides"].items()
    }
    return Member(
        id=str(entry["id"]),
        group=str(entry["group"]),
        seed=int(entry["seed"]),
        overrides=overrides,
        run=folder / _inside(str(entry["run"])),
        hash=str(entry.get("config_hash", "")),
        steps=int(entry.get("steps", 0)),
        shorter=tuple(str(hash_) for hash_ in entry.get("shorter_hashes", ())),
    )


def _inside(name: str) -> str:
    """A path below the sweep's folder; a manifest has no business elsewhere."""
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"run {name!r} is not below the sweep's folder")
    return name


def _override_names(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(name for member in sweep.members for name in member.overrides))


# ---- tables ------------------------------------------------------------------------------------


def run_status(sweep: Sweep) -> pd.DataFrame:
    """A row per member and confirmation.

    id; group; seed; confirmed (whether it is a confirmation); status; last_step; message (why it is
    not finished).
    """
    rows = []
    for member in sweep.all_members:
        run = sweep.runs.get(member.id)
        rows.append(
            {
                "id": member.id,
                "group": member.group,
                "seed": member.seed,
                "confirmed": member.confirmed,
                "status": sweep.status(member),
                "last_step": run.last_step if run else 0,
                "message": run.message if run else sweep.unreadable.get(member.id, ""),
            }
        )
    columns = ["id", "group", "seed", "confirmed", "status", "last_step", "message"]
    return pd.DataFrame(rows, columns=columns)


def status_counts(sweep: Sweep) -> pd.DataFrame:
    """A row per group, a column per status that occurs, and `runs`: numbers of members.

    With confirmations; `confirmations` says how many of the runs they are, where there are some.
    """
    table = run_status(sweep)
    counts = pd.crosstab(table["group"], table["status"]).reindex(sweep.groups)
    counts.columns.name = None
    counts = counts.assign(runs=counts.sum(axis=1))
    if not table["confirmed"].any():
        return counts
    of_group = table.groupby("group")["confirmed"].sum()
    return counts.assign(confirmations=of_group.reindex(counts.index))


def final_losses(sweep: Sweep) -> pd.DataFrame:
    """A row per member of the sweep, in the manifest's order, also for runs that do not exist yet.

    Confirmations come last. id; group; seed; confirmed (whether it is one); a column per override, under its full name (`optimizer.learning_rate`);
    final_loss (last validation loss, nats per token; NaN unless the run finished); best_loss
    (lowest validation loss so far); status; optimizer_bytes; peak_allocated (bytes);
    seconds_per_step (median).
    """
    names = _override_names(sweep)
    rows = []
    for member in sweep.all_members:
        row: dict[str, object] = {"id": member.id, "group": member.group, "seed": member.seed}
        row["confirmed"] = member.confirmed
        row |= {name: member.overrides.get(name) for name in names}
        row |= {"final_loss": sweep.final_loss(member), "status": sweep.status(member)}
        row |= _recorded(sweep.runs.get(member.id))
        rows.append(row)
    outcome = ["final_loss", "best_loss", "status"]
    cost = ["optimizer_bytes", "peak_allocated", "seconds_per_step"]
    return pd.DataFrame(rows, columns=["id", "group", "seed", "confirmed", *names, *outcome, *cost])


def _recorded(run: Run | None) -> dict[str, float]:
    if run is None:
        return {}
    measured = run.memory.get("peak_allocated", 0)
    return {
        "best_loss": float(run.evaluations["loss"].min()),
        "optimizer_bytes": float(run.memory.get("optimizer_state", np.nan)),
        "peak_allocated": float(measured) if measured else np.nan,
        "seconds_per_step": float(run.steps["seconds"].median()),
    }


def configurations(sweep: Sweep) -> pd.DataFrame:
    """A row per configuration: the members that differ only in the seed, without confirmations.

    group; a column per override; runs, finished, diverged (numbers of members; a run that finished
    with a loss that is not finite counts as diverged); mean, low, high (final validation loss over
    the finished seeds with its 95 % t interval, nats per token; low and high are NaN with fewer
    than two); ids (the finished members).
    """
    return _outcomes(sweep, _by_configuration(sweep.members))


def _outcomes(sweep: Sweep, table: dict[object, list[Member]]) -> pd.DataFrame:
    names = _override_names(sweep)
    rows = []
    for members in table.values():
        finished = [member for member in members if np.isfinite(sweep.final_loss(member))]
        interval = mean_interval([sweep.final_loss(member) for member in finished])
        row: dict[str, object] = {"group": members[0].group}
        row |= {name: members[0].overrides.get(name) for name in names}
        row |= {
            "runs": len(members),
            "finished": len(finished),
            "diverged": sum(sweep.diverged(member) for member in members),
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "ids": tuple(member.id for member in finished),
        }
        rows.append(row)
    return pd.DataFrame(
        rows,
        columns=["group", *names, "runs", "finished", "diverged", "mean", "low", "high", "ids"],
    )


def best_configurations(sweep: Sweep) -> pd.DataFrame:
    """The first row of `by_rank` for every group; groups without a finished run have none."""
    table = configurations(sweep)
    best = by_rank(table[table["finished"] > 0]).drop_duplicates("group")
    return _in_group_order(sweep, best)


def _in_group_order(sweep: Sweep, table: pd.DataFrame) -> pd.DataFrame:
    """Of a table with one row per group."""
    table = table.set_index("group", drop=False)
    groups = [group for group in sweep.groups if group in table.index]
    return table.loc[groups].reset_index(drop=True)


def confirmed_configurations(sweep: Sweep) -> pd.DataFrame:
    """The confirmations of `best_configurations`, with the columns of `configurations`.

    A row per group that has some, as in the first table of `blockwise report`. Those of a
    configuration that is no longer its group's best are in no row.
    """
    best = {member.configuration for member in _best_members(sweep)}
    ours = [member for member in sweep.confirmations if member.configuration in best]
    return _in_group_order(sweep, _outcomes(sweep, _by_configuration(ours)))


def _best_members(sweep: Sweep) -> list[Member]:
    """One member of each best configuration."""
    firsts = {ids[0] for ids in best_configurations(sweep)["ids"]}
    return [member for member in sweep.members if member.id in firsts]


def judged_configurations(sweep: Sweep) -> pd.DataFrame:
    """What to compare the groups by: `best_configurations` on the seeds that judge.

    These are the confirmations of a group where one of them finished, which `confirmed` says, and
    otherwise the seeds that also chose it: among many configurations, those look better than they
    are.
    """
    confirmed = confirmed_configurations(sweep)
    confirmed = confirmed[confirmed["finished"] > 0].assign(confirmed=True)
    chosen = best_configurations(sweep).assign(confirmed=False)
    chosen = chosen[~chosen["group"].isin(confirmed["group"])]
    if confirmed.empty or chosen.empty:
        return chosen if confirmed.empty else confirmed
    return _in_group_order(sweep, pd.concat([confirmed, chosen]))


def by_rank(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `configurations`, best first, in the order of `blockwise report`.

    By mean final validation loss; but a configuration with a diverged seed comes after all without,
    so that one lucky seed does not win.
    """
    diverged = (table["diverged"] > 0).rename("any")
    order = pd.concat([diverged, table["mean"]], axis=1).sort_values(["any", "mean"], kind="stable")
    return table.loc[order.index]


def _by_configuration(members: Sequence[Member]) -> dict[object, list[Member]]:
    table: dict[object, list[Member]] = {}
    for member in members:
        table.setdefault(member.configuration, []).append(member)
    return table


def loss_curves(sweep: Sweep) -> pd.DataFrame:
    """All validation-loss curves in long form, a row per evaluation of every run that exists.

    id; group; seed; confirmed (whether the seed chose nothing); learning_rate (peak, NaN where the sweep does not set it); step; tokens (seen
    in training); loss (nats per token).
    """
    columns = ["id", "group", "seed", "confirmed", "learning_rate", "step", "tokens", "loss"]
    curves = [
        sweep.runs[member.id]
        .evaluations[["step", "tokens", "loss"]]
        .assign(
            id=member.id,
            group=member.group,
            seed=member.seed,
            confirmed=member.confirmed,
            learning_rate=member.learning_rate,
        )[columns]
        for member in sweep.all_members
        if member.id in sweep.runs
    ]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def loss_band(runs: Sequence[Run]) -> pd.DataFrame:
    """Validation loss over seeds, at the steps that all of the runs have.

    step; tokens; seeds (number of runs); mean, low, high (nats per token; 95 % t interval, NaN for
    a single run).
    """
    curves = [_by_step(run, "loss") for run in runs]
    tokens = _by_step(runs[0], "tokens") if runs else {}
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    rows = []
    for step in steps:
        interval = mean_interval([curve[step] for curve in curves])
        rows.append(
            {
                "step": step,
                "tokens": int(tokens[step]),
                "seeds": interval.count,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows, columns=["step", "tokens", "seeds", "mean", "low", "high"])


def _by_step(run: Run, column: str) -> dict[int, float]:
    steps, values = run.evaluations["step"].tolist(), run.evaluations[column].tolist()
    return dict(zip(steps, values, strict=True))
