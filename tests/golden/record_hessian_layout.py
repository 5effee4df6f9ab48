"""Records what a spectrum file's group /hessian holds: every object, its type, units and text.

    python tests/golden/record_hessian_layout.py PROGRAM

writes hessian_layout.json beside this file. A file of before that somebody reads by name stays
readable as long as the list only grows.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py

GOLDEN = Path(__file__).resolve().parent
RECORDED = GOLDEN / "hessian_layout.json"

COMMON = ["lanczos_steps=3", "partitions=[adam_mini]", "coupling_products=2", "distances=true"]
KINDS = {
    "estimated": ["trace_products=2", "diagonal_products=2", "vectors=2", "functions=[absolute]"],
    "exact": ["exact=true"],
}


def measure(program: Path, folder: Path, kind: str) -> Path:
    """A measurement of a tiny model that writes every table."""
    tokens = folder / "tokens.bin"
    header = struct.pack("<256i", 20240520, 1, 200, *[0] * 253)
    tokens.write_bytes(header + struct.pack("<200H", *[(7 * i) % 61 for i in range(200)]))
    settings = ["names=['*norm*']", "batches=1", "batch_size=1", *COMMON, *KINDS[kind]]
    output = folder / kind
    command: list[str | Path] = [program, "spectrum", "--model", GOLDEN / "hugging_face" / "llama"]
    command += ["--tokens", tokens, "--sequence-length", "8", "--output", output, "--no-figure"]
    for setting in settings:
        command += ["--set", f"hessian.{setting}"]
    subprocess.run(command, check=True, capture_output=True)
    return output / "spectrum.h5"


def layout(path: Path) -> dict[str, dict[str, str]]:
    """Of every object in /hessian its type and all its attributes."""
    found: dict[str, dict[str, str]] = {}

    def note(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        kind = "group"
        if isinstance(thing, h5py.Dataset):
            kind = f"{thing.dtype.kind}{thing.dtype.itemsize if thing.dtype.kind != 'S' else ''}"
            kind += "".join(" grows" if size is None else "" for size in thing.maxshape)
        attributes = {key: str(value) for key, value in sorted(thing.attrs.items())}
        attributes.pop("model", None)  # a path
        found[name] = {"type": kind, **attributes}

    with h5py.File(path, "r") as file:
        file["hessian"].visititems(note)
    return found


def text_of(layouts: dict[str, dict[str, dict[str, str]]]) -> str:
    """A line per object."""
    kinds = []
    for kind, objects in layouts.items():
        lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in objects.items()]
        kinds.append(f"{json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def recorded() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(RECORDED.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        layouts = {kind: layout(measure(Path(sys.argv[1]), Path(name), kind)) for kind in KINDS}
    RECORDED.write_text(text_of(layouts))
