"""What a folder holds, for the reader that was given another kind."""

from __future__ import annotations

from pathlib import Path

from .json_file import read_json

_KINDS = {
    "run.h5": ("a run", "read_run"),
    "spectrum.h5": ("a measurement of curvature", "read_spectrum"),
    "partition.yaml": ("a partition", "read_partition_file"),
}


def other_reader(path: Path) -> str:
    """A sentence for an error message: what is at `path`, a folder or one of its files, and which
    function reads it. Empty where it is nothing of ours."""
    folder = path if path.is_dir() else path.parent
    if path != folder and path.name not in ("manifest.json", *_KINDS):
        return ""
    if _is_sweep(folder / "manifest.json"):
        return f"{folder} is the folder of a sweep, which blockwise.read_sweep reads."
    for name, (kind, reader) in _KINDS.items():
        if (folder / name).is_file():
            return f"{folder} is the folder of {kind}, which blockwise.{reader} reads."
    return ""


def _is_sweep(manifest: Path) -> bool:
    """Folders of tokens have a manifest, too."""
    try:
        document = read_json(manifest)
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == "blockwise-sweep"
