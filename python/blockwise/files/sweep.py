"""A sweep's plan and its runs.

A sweep folder holds `manifest.json` and one run folder per member. Nothing here writes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .folder_kind import other_reader
from .hdf5_file import RunFileError
from .json_file import read_json
from .run import Run, read_run
from .short_repr import plural, screen

Override: TypeAlias = int | float | str | bool

LEARNING_RATE = "optimizer.learning_rate"
"""The override that most sweeps vary."""

MISSING = "missing"
"""Status of a member whose run has not been started."""
UNREADABLE = "unreadable"
"""Status of a member whose run file is damaged, or of another configuration."""


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
    --confirm`); empty where the sweep has none. left_out: those that the sweep's file no longer
    names; they are in no table, but were tried. runs: of members and confirmations, by member id.
    unreadable: member id to the error, for run files that are damaged or that ran another
    configuration than the manifest says; one such file does not hide the others.
    """

    folder: Path
    name: str
    hash: str
    baseline: str
    members: tuple[Member, ...]
    runs: dict[str, Run]
    unreadable: dict[str, str]
    confirmations: tuple[Member, ...] = ()
    left_out: tuple[Member, ...] = ()

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
        left_out = tuple(_member(folder_path, entry) for entry in manifest.get("left_out", []))
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
    return Sweep(
        folder_path, name, hash_, baseline, members, runs, unreadable, confirmations, left_out
    )


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
