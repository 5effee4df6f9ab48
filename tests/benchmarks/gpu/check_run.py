"""What the stages of a check share: where things are, how long there is, and processes within it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from check_report import CheckReport, StageFailed

ROOT = Path(__file__).resolve().parents[3]


def json_of(text: str) -> dict[str, Any]:
    """Of a process's output: behind its notes, in one line or in many."""
    lines = text.splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith("{")), None)
    if begin is None:
        raise StageFailed(f"there is no JSON in the output: {text[-200:]!r}")
    document, _ = json.JSONDecoder().raw_decode("\n".join(lines[begin:]))
    return document


@dataclass
class CheckRun:
    report: CheckReport
    output: Path
    device: str  # "cuda"; "cpu" in a rehearsal, whose sizes are tiny
    deadline: float  # of monotonic()
    program: Path
    tests: Path

    @property
    def is_rehearsal(self) -> bool:
        return self.device == "cpu"

    def left(self) -> float:
        """Seconds, of what all stages have."""
        return self.deadline - monotonic()

    def finish(self, log: str, words: Sequence[str | Path], seconds: float, **environment: str) -> str:
        """Its output. Throws StageFailed for another code than 0, and after `seconds`."""
        code, text = self.call(log, words, seconds, **environment)
        if code != 0:
            last = (text.strip().splitlines() or ["no word"])[-1]
            raise StageFailed(f"{Path(words[0]).name} ended with code {code}: {last[:200]} ({log}.log)")
        return text

    def call(
        self, log: str, words: Sequence[str | Path], seconds: float, enough: str = "", **environment: str
    ) -> tuple[int, str]:
        """Exit code and output, which is kept in logs/; ends the process and its children after `seconds`.

        And as soon as its output has what `enough`, a regular expression, finds: then the code is 0.
        """
        path = self.output / "logs" / f"{log}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        bound = max(1.0, min(seconds, self.left()))
        with path.open("w", encoding="utf-8", errors="replace") as file:
            process = subprocess.Popen(
                [str(word) for word in words], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=os.environ | environment, start_new_session=True,
            )  # fmt: skip
            end = monotonic() + bound
            while process.poll() is None:
                text = path.read_text(encoding="utf-8", errors="replace") if enough else ""
                has_enough = bool(enough) and re.search(enough, text) is not None
                if has_enough or monotonic() > end:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    if has_enough:
                        return 0, text
                    raise StageFailed(f"{Path(words[0]).name} took more than {bound:.0f} s ({log}.log)")
                sleep(0.02)
        return process.returncode, path.read_text(encoding="utf-8", errors="replace")

    def bench(self, log: str, group: str, seconds: float, *more: str) -> dict[str, dict[str, Any]]:
        """Rows of `blockwise bench` by name."""
        length = ["--repetitions", "1", "--seconds", "0.001"] if self.is_rehearsal else ["--repetitions", "5"]
        words = [self.program, "bench", group, "--device", self.device, "--json", *length, *more]
        document = json_of(self.finish(log, words, seconds))
        return {row["name"]: row for row in document["groups"][group]}
