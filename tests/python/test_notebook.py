"""Executes the notebook on a synthetic sweep."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY
from nbclient import NotebookClient

NOTEBOOK = REPOSITORY / "notebooks" / "quickstart.ipynb"


def test_no_outputs_are_committed() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_notebook_runs_from_the_files_to_the_figures(
    accident_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(accident_folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY / "notebooks")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=50, resources={"metadata": {"path": str(REPOSITORY)}}
    ).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    images = [out.data["image/png"] for out in outputs if "image/png" in out.get("data", {})]
    assert len(images) == 5
    assert all(len(base64.b64decode(image)) > 10_000 for image in images)
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "interrupted" in tables[0]
    assert "loss nan at step 120" in tables[1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
