"""JSON that somebody else wrote: bounded in size and depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .input_file import TEXT_LIMIT, read_input


def read_json(path: Path, limit: int = TEXT_LIMIT) -> Any:
    """Raises OSError as `read_input` does, and ValueError for what is no JSON."""
    try:
        return json.loads(read_input(path, limit))
    except RecursionError:
        raise ValueError("is nested too deep") from None
