"""Executes the notebooks: on a synthetic sweep, and with a made-up program."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import nbformat
import pytest
from conftest import PACKAGES, REPOSITORY
from make_program import write_program
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = REPOSITORY / "notebooks"


def execute(name: str, monkeypatch: pytest.MonkeyPatch) -> list[NotebookNode]:
    """The outputs of all cells."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PACKAGES))
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(
        notebook, timeout=50, resources={"metadata": {"path": str(REPOSITORY)}}
    ).execute()
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def images(outputs: list[NotebookNode]) -> list[bytes]:
    data = [out.data["image/png"] for out in outputs if "image/png" in out.get("data", {})]
    return [base64.b64decode(image) for image in data]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_outputs_are_committed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_quickstart_runs_from_the_files_to_the_figures(
    accident_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(accident_folder))
    outputs = execute("quickstart.ipynb", monkeypatch)
    assert len(images(outputs)) == 6  # a partition for each of the two groups
    assert all(len(image) > 10_000 for image in images(outputs))
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "interrupted" in tables[0]
    assert "loss nan at step 120" in tables[1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


def test_memory_runs_over_every_published_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_PROGRAM", str(write_program(tmp_path / "program")))
    monkeypatch.setenv("BLOCKWISE_CHECKPOINT", "folder")
    monkeypatch.setenv("BLOCKWISE_TOKENS", "tokens.bin")
    outputs = execute("memory.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True] * 3
    (table,) = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    for name in ("gpt2-125m", "gpt2-1.5b", "llama-39m", "llama-13b"):
        assert name in table
    assert not [out for out in outputs if out.output_type in ("error", "stream")]


def test_parallel_runs_over_every_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKWISE_PROGRAM", str(write_program(tmp_path / "program")))
    outputs = execute("parallel.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True]
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    table, of_one, shards = tables
    for text in ("125m", "13b", "1024", "adam_mini"):
        assert text in table
    for text in ("7b", "sent_kilobytes_per_token"):
        assert text in of_one
    for shard in ("optimizer", "gradients", "parameters"):
        assert shard in shards
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
