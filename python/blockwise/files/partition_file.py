"""Partition files, as `blockwise partition` writes them: which elements share a second moment.

    file = read_partition_file("runs/gpt2-tiny-partition/partition.yaml")
    file.partition.groupby("role").state_elements.sum()

The format is described in core/partition/partition_file.hpp; notebooks/adam_mini_pytorch.py trains with one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .folder_kind import other_reader
from .hdf5_file import RunFileError
from .short_repr import plural, screen
from .yaml_file import read_yaml

_VERSIONS = (1, 2)
_LARGEST_FILE = 1 << 30  # bytes, as the program's reader


@dataclass(frozen=True, eq=False)
class PartitionFile:
    """A partition and how it was found.

    partition: a row per section of a tensor. tensor; role; rule (what chose it); structure
        (elements, tiles, factored, labels or none); row_begin; rows; columns; tile_rows;
        tile_columns; blocks; state_elements (values of the second moment); merged (sections with
        one number of 0 or more share one value, -1: with none); and what spoke for it,
        a column `evidence_KEY` each, not a number where there was none.
    """

    path: Path
    provenance: dict[str, str]
    hash: str
    partition_rule: str
    partition: pd.DataFrame

    def __repr__(self) -> str:
        sections, values = len(self.partition), self.partition["state_elements"].sum()
        words = f"{plural(sections, 'section')}, {values} second moments"
        return screen(f"Partition {self.partition_rule}", self.path, [words])


def read_partition_file(path: Path | str) -> PartitionFile:
    """A file, or the partition.yaml of a folder. Raises RunFileError where it is missing or is not
    one of version 1 or 2."""
    return _checked(Path(path))[0]


def read_partition_document(path: Path | str) -> dict[str, Any]:
    """What stands in the file, after the checks of `read_partition_file`: every section has its
    structure, sizes that fit its tensor, and as many labels as elements."""
    return _checked(Path(path))[1]


def _checked(path: Path) -> tuple[PartitionFile, dict[str, Any]]:
    if (path / "partition.yaml").exists():
        path = path / "partition.yaml"
    elif path.is_dir() and (other := other_reader(path)):
        raise RunFileError(f"{path}: no partition file. {other}")
    try:
        document = read_yaml(path, _LARGEST_FILE)
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunFileError(f"{path}: cannot be read as YAML: {error}") from error
    ours = isinstance(document, dict) and document.get("format") == "blockwise-partition"
    if not ours or document.get("version") not in _VERSIONS:
        raise RunFileError(f"{path}: not a partition file of version 1 or 2")
    try:
        return _partition_file(path, document), document
    except ValueError as error:
        raise RunFileError(f"{path}: a damaged partition file: {error}") from error


def _partition_file(path: Path, document: dict[str, Any]) -> PartitionFile:
    rows = [
        _row(f"{place}.sections[{s}]", tensor, section)
        for place, tensor in _entries(document, "tensors", "tensors")
        for s, section in enumerate(_value(place, tensor, "sections", list))
    ]
    provenance = {}
    if document.get("provenance") is not None:
        provenance = _value("provenance", document, "provenance", dict)
    return PartitionFile(
        path=path,
        provenance={str(key): str(value) for key, value in provenance.items()},
        hash=str(document.get("hash", "")),
        partition_rule=f"by {provenance.get('objective', 'hand')}",
        partition=pd.DataFrame(rows),
    )


def _entries(node: dict[str, Any], key: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, entry in enumerate(_value(place, node, key, list)):
        yield f"{place}[{i}]", _mapping(f"{place}[{i}]", entry)


def _mapping(place: str, node: object) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise ValueError(f"{place}: a {type(node).__name__}, not a mapping")
    return node


def _value(place: str, node: dict[str, Any], key: str, kind: type) -> Any:
    if key not in node:
        raise ValueError(f"{place}: no '{key}'")
    if not isinstance(node[key], kind):
        raise ValueError(f"{place}: '{key}' is a {type(node[key]).__name__}, not a {kind.__name__}")
    return node[key]


def _sizes(place: str, node: dict[str, Any], key: str, counts: Collection[int]) -> list[int]:
    """Whole numbers from 0 on, below 2^63, as the program has them."""
    numbers = _value(place, node, key, list)
    whole = all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
    if len(numbers) not in counts or not whole:
        raise ValueError(f"{place}: '{key}' is {numbers}, not {counts} numbers of at least 0")
    return numbers


def _row(place: str, tensor: dict[str, Any], node: object) -> dict[str, Any]:
    section = _mapping(place, node)
    shape = _sizes(place, tensor, "shape", (1, 2))
    begin, end = _sizes(place, section, "rows", (2,))
    if not begin < end <= shape[0]:
        raise ValueError(f"{place}: rows [{begin}, {end}] of {shape[0]}")
    rows, columns = end - begin, shape[1] if len(shape) > 1 else 1
    structure = _value(place, section, "structure", str)
    tile_rows, tile_columns = _tile(place, section, rows, columns)
    down, across = -(-rows // tile_rows), -(-columns // tile_columns)
    counts = {
        "elements": rows * columns,
        "tiles": down * across,
        "none": down * across,
        "factored": down,
        "labels": _label_count(place, section, rows * columns),
    }
    if structure not in counts:
        raise ValueError(f"{place}: structure '{structure}' is none of {', '.join(counts)}")
    blocks = counts[structure]
    values = {"factored": rows + down * columns, "none": 0}.get(structure, blocks)
    return {
        "tensor": _value(place, tensor, "name", str),
        "role": _value(place, section, "role", str),
        "rule": section.get("rule", "file"),
        "structure": structure,
        "row_begin": begin,
        "rows": rows,
        "columns": columns,
        "tile_rows": tile_rows,
        "tile_columns": tile_columns,
        "blocks": blocks,
        "state_elements": values,
        "merged": section.get("merged", -1),
        **_evidence(place, section),
    }


def _tile(place: str, section: dict[str, Any], rows: int, columns: int) -> tuple[int, int]:
    tile = [1, 1]
    if "tile" in section:
        tile = _sizes(place, section, "tile", (2,))
    elif "group" in section:
        tile = _sizes(place, {"group": [section["group"]]}, "group", (1,)) + [1]
    if 0 in tile:
        raise ValueError(f"{place}: a tile of {tile}")
    return min(tile[0], rows), min(tile[1], max(columns, 1))


def _label_count(place: str, section: dict[str, Any], elements: int) -> int:
    """Whoever writes the runs out must not need more than an element each."""
    if "labels" not in section:
        return 0
    runs = [run.split("*") for run in _value(place, section, "labels", str).split()]
    if not all(len(run) == 2 and all(map(_is_count, run)) for run in runs):
        raise ValueError(f"{place}: 'labels' are not of the form NUMBER*REPETITIONS")
    count = sum(int(repetitions) for _, repetitions in runs)
    if count != elements:
        raise ValueError(f"{place}: {count} labels of {elements} elements")
    return 1 + max((int(number) for number, _ in runs), default=-1)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _evidence(place: str, section: dict[str, Any]) -> dict[str, float]:
    if section.get("evidence") is None:
        return {}
    evidence = _value(place, section, "evidence", dict)
    try:
        return {f"evidence_{key}": float(value) for key, value in evidence.items()}
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: evidence: {error}") from error
