"""What a check found, as one JSON file that is whole after every stage."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED, NO_TIME = "passed", "failed", "skipped", "did not fit in the minutes"


class StageFailed(Exception):
    """Something is wrong, in a sentence; later stages are run."""


class StageSkipped(Exception):
    """What a stage needs is not here, in a sentence."""


@dataclass(frozen=True)
class Target:
    bound: float
    is_least: bool  # else the most

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound

    def text(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.bound:g}"


@dataclass
class Figure:
    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


@dataclass
class StageResult:
    name: str
    state: str
    seconds: float
    reason: str = ""


@dataclass
class CheckReport:
    path: Path
    machine: dict[str, Any]
    stages: list[StageResult] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def add_figure(self, name: str, value: float, unit: str, target: Target | None = None) -> None:
        """Targets are of a GPU: a figure of a rehearsal has none."""
        if target is None or self.machine["device"] == "cpu":
            self.figures.append(Figure(name, value, unit))
        else:
            self.figures.append(Figure(name, value, unit, target.text(), target.is_met(value)))

    def add_stage(self, result: StageResult) -> None:
        self.stages.append(result)
        self.write()

    def write(self) -> None:
        words = {
            "machine": self.machine,
            "stages": [asdict(stage) for stage in self.stages],
            "figures": [asdict(figure) for figure in self.figures],
        }
        beside = self.path.with_suffix(".partial")
        beside.write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self.path)

    def failures(self) -> list[str]:
        missed = [f"{f.name}: {f.value:.3g} {f.unit}, wanted {f.target}" for f in self.figures if f.met is False]
        return [f"{s.name}: {s.reason}" for s in self.stages if s.state == FAILED] + missed
