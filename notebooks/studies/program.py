"""The program, as the studies call it.

It is build/release/blockwise of this checkout, or what the environment variable BLOCKWISE_PROGRAM
names.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import REPOSITORY


class ProgramError(RuntimeError):
    """The program is missing, ended with an error, or did not write what was asked for."""


def program() -> Path:
    return Path(os.environ.get("BLOCKWISE_PROGRAM", REPOSITORY / "build" / "release" / "blockwise"))


def run_program(arguments: Sequence[str], settings: Mapping[str, object]) -> None:
    """Runs the program in the repository, with a --set per setting; progress goes to stderr."""
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = _done([*arguments, *words], stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise ProgramError(f"{' '.join(done.args)}: exit code {done.returncode}")


def program_json(arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the program in the repository and returns the JSON object that it prints."""
    done = _done([*arguments, "--json"], capture_output=True)
    if done.returncode != 0:
        raise ProgramError(done.stderr.strip() or f"exit code {done.returncode}")
    try:
        value = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise ProgramError(f"{arguments[0]}: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProgramError(f"{arguments[0]}: a JSON object was expected")
    return value


def _done(arguments: Sequence[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    if not program().is_file():
        raise ProgramError(f"there is no {program()}: `make build` makes it")
    command = [str(program()), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, text=True, **streams)
