"""The table of large runs beside their plans: on a small run that the program makes, paged and not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blockwise.files.run import read_run
from studies.sizes.ladder import ladder_rows, main, markdown, planned
from studies.program import program, run_program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

CONFIG = """
name: small
data: {kind: markov_tokens, vocab_size: 64, sequence_length: 16}
model: {family: llama, n_layer: 4, n_head: 4, n_embd: 128}
optimizer: {rule: adam_mini, learning_rate: 1.0e-3, gradient_clip: 0.0}
trainer:
  {steps: 3, micro_batch_size: 2, precision: bf16, master_weights: residual_8bit, gradients: released}
"""

PAGED = {"optimizer.state.resident_mb": 2, "trainer.master_resident_mb": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ladder")
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    made = []
    for name, settings in (("memory", {}), ("paged", PAGED)):
        run_program(["train", str(config), "--output", str(folder / name)], settings)
        made.append(folder / name)
    return made


def test_the_table_says_what_runs_took_and_what_was_planned(runs: list[Path]) -> None:
    read = [read_run(run) for run in runs]
    rows = {row[0]: row[1:] for row in ladder_rows(read, [planned(run) for run in read])}
    assert rows["parameters"][0] == rows["parameters"][1]
    assert rows["steps"] == ["3", "3"]
    assert rows["tokens a step"] == ["32", "32"]
    assert rows["training loss, first and last"][0] == rows["training loss, first and last"][1]
    assert rows["paged in a step, GB read and written"][0] == "-"
    assert read[1].paging["bytes_written"] > 0
    for measured, plan in zip(rows["tensors and pages at the peak, GB"], rows["planned"], strict=True):
        assert float(measured) == pytest.approx(float(plan), abs=0.002)


def test_the_command_prints_markdown_and_names_a_file_that_is_none(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run) for run in runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "|  | small | small |"
    assert len({line.count("|") for line in lines}) == 1
    assert markdown([["a"], ["b"]]) == "| a |\n| --- |\n| b |"
    assert main([str(runs[0] / "none")]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_run_that_has_just_started_has_no_losses_yet(runs: list[Path]) -> None:
    run, plan = read_run(runs[1]), planned(read_run(runs[1]))
    started = replace(run, steps=run.steps.iloc[:0], evaluations=run.evaluations.iloc[:0])
    rows = {row[0]: row[1:] for row in ladder_rows([started], [plan])}
    assert rows["training loss, first and last"] == ["-"]
    assert rows["seconds a step"] == ["-"]
    assert rows["seconds waited for pages in a step"] == ["-"]
