"""Reads what blockwise writes: run files and sweeps as data frames, and figures of them.

    import blockwise
    sweep = blockwise.read_sweep("runs/quickstart")
    blockwise.final_losses(sweep)
    blockwise.save_figure(blockwise.sweep_figure(sweep), "figure.png")
    spectrum = blockwise.read_spectrum("runs/gpt2-spectrum")
    blockwise.spectrum_figure(spectrum)

Nothing here needs the C++ program. Losses are in nats per token, times in seconds, memory in bytes,
eigenvalues of a Hessian in nats per squared parameter. Programs of the same package:

    python -m blockwise.figures DIR --output figure.png     figures of a sweep, run or Hessian
    python -m blockwise.tokens --train ... --output DIR     token files from text
    python -m blockwise.corpus.austen --output DIR          the default corpus

Sub-packages, each of which imports those behind it alone: figures; analysis (tables and densities);
files (readers); statistics; and tokens and corpus, which import files.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def _public_names() -> dict[str, str]:
    """Public names with their modules, out of the stub that type checkers read: the only list."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f".{node.module}" for node in imports for alias in node.names}


_MODULES = _public_names()
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    # Late, because the corpus and tokenizer programs should not wait for Matplotlib and pandas.
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
