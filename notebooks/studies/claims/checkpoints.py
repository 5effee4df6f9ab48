"""The tensors of a checkpoint: weights, and the optimizer's state as NAME/PARAMETER.

momentum = tensors_under(checkpoint(run, 300) / "optimizer.safetensors", "exp_avg")
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.input_file import read_input

LARGEST_FILE = 1 << 30  # bytes: the studies' models are small
STATE = "optimizer.safetensors"

_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_HEAD = 8  # bytes that say how long the header is


def checkpoint(run: Path, step: int) -> Path:
    """The folder of the checkpoint after that step."""
    return run / "checkpoints" / f"step_{step:08d}"


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Every float32 and float64 tensor of a safetensors file, float64, by name.

    Raises RunFileError where the file is missing, too large or damaged.
    """
    try:
        return _tensors(read_input(path, LARGEST_FILE))
    except OSError as error:
        raise RunFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise RunFileError(f"{path}: a damaged safetensors file: {error}") from error


def tensors_under(path: Path, name: str) -> dict[str, np.ndarray]:
    """Those called NAME/PARAMETER, by the parameter; RunFileError where there is none."""
    tensors = read_tensors(path)
    found = {
        key.removeprefix(f"{name}/"): tensors[key] for key in tensors if key.startswith(f"{name}/")
    }
    if not found:
        raise RunFileError(f"{path}: holds no {name}")
    return found


def _tensors(content: bytes) -> dict[str, np.ndarray]:
    begin = _HEAD + int.from_bytes(content[:_HEAD], "little")
    if not _HEAD < begin <= len(content):
        raise ValueError("its header does not fit into it")
    header = json.loads(content[_HEAD:begin])
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    data = memoryview(content)[begin:]
    return {
        name: _array(name, entry, data)
        for name, entry in entries.items()
        if entry["dtype"] in _TYPES
    }


def _array(name: str, entry: dict[str, Any], data: memoryview) -> np.ndarray:
    dtype, shape = _TYPES[entry["dtype"]], tuple(entry["shape"])
    first, last = entry["data_offsets"]
    if not 0 <= first <= last <= len(data) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"'{name}' lies outside it, or is of another size")
    return np.frombuffer(data[first:last], dtype).reshape(shape).astype(np.float64)
