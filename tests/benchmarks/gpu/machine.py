"""The machine of a check, for its report."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

from check_run import ROOT


def first_line(*words: str) -> str:
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    lines = done.stdout.strip().splitlines()
    return lines[-1] if done.returncode == 0 and lines else ""


def commit() -> str:
    bundled = ROOT / "build/bundled-commit"
    if bundled.is_file() and not (ROOT / ".git").exists():
        return bundled.read_text(encoding="utf-8").strip()
    return first_line("git", "describe", "--always", "--dirty", "--exclude=*")


def why_no_gpu() -> str:
    """A sentence, empty where there is a GPU that PyTorch can use."""
    try:
        import torch
    except ImportError:
        return "there is no PyTorch in this Python, whose LibTorch the check builds on"
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is a build without CUDA"
    return "" if torch.cuda.is_available() else "PyTorch finds no CUDA device here"


def describe(device: str) -> dict[str, Any]:
    import torch

    words: dict[str, Any] = {
        "device": device,
        "commit": commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "nvcc": first_line("nvcc", "--version"),
        "compiler": (first_line("c++", "-dumpfullversion")),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        words |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda_of_torch": torch.version.cuda,
            "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        }
    return words
