"""Memory plans: reading what a made-up program prints, and drawing it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_program import CONFIGS, write_program

from blockwise.figures.style import save_figure
from studies.memory_figures import (
    memory_parts_figure,
    memory_savings,
    planned_memory_figure,
    position_loss_figure,
)
from studies.plans import read_evaluation, read_plans
from studies.program import ProgramError

GIB = 1024**3


@pytest.fixture(autouse=True)
def made_up_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_program(tmp_path / "program")
    monkeypatch.setenv("BLOCKWISE_PROGRAM", str(path))
    return path


def test_plans_are_a_row_per_size_and_optimizer_by_size() -> None:
    plans = read_plans(list(reversed(CONFIGS)))
    assert plans["rule"].tolist() == ["adamw", "adam_mini"] * len(CONFIGS)
    assert plans["parameters"].is_monotonic_increasing
    assert plans["family"].tolist()[:2] == ["llama", "llama"]
    adamw, mini = (plans[plans["rule"] == rule] for rule in ("adamw", "adam_mini"))
    np.testing.assert_array_equal(adamw["optimizer_bytes"], 8 * adamw["parameters"])
    assert (mini["optimizer_bytes"].to_numpy() < 0.51 * adamw["optimizer_bytes"].to_numpy()).all()


def test_savings_are_relative_to_the_baseline() -> None:
    plans = read_plans(CONFIGS)
    saved = memory_savings(plans, "adam_mini", "optimizer_bytes")
    np.testing.assert_allclose(saved["saved"], 0.499, rtol=1e-3)
    assert memory_savings(plans[plans["rule"] == "adamw"], "adam_mini").empty


def test_the_figure_shows_bytes_against_parameters() -> None:
    plans = read_plans(CONFIGS)
    state, peaks, savings = planned_memory_figure(plans).axes
    (line,) = [one for one in state.get_lines() if one.get_label() == "adamw"]
    adamw = plans[plans["rule"] == "adamw"]
    np.testing.assert_allclose(
        line.get_xydata(), np.stack([adamw["parameters"], adamw["optimizer_bytes"] / GIB], axis=1)
    )
    assert len(peaks.get_lines()) == 2 * 2 * 2  # rules, families, with checkpointing or not
    assert len(savings.get_lines()) == 2 * 2
    for one in savings.get_lines():
        assert (np.asarray(one.get_ydata()) > 0).all()


def test_parts_are_stacked_to_their_sum() -> None:
    plans = read_plans(CONFIGS)
    (axes,) = memory_parts_figure(plans, "llama-1b").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["adamw", "adam_mini"]
    legend = axes.get_legend()
    assert legend is not None
    # There are no master weights in float32, so they are not named.
    assert [text.get_text() for text in legend.get_texts()] == [
        "parameters", "gradients", "optimizer state", "activations",
    ]  # fmt: skip
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    rows = plans[plans["name"] == "llama-1b"]
    parts = ["parameter_bytes", "gradient_bytes", "optimizer_bytes", "activation_bytes"]
    assert max(ends) == pytest.approx(rows[parts].sum(axis=1).max() / GIB)


def test_an_evaluation_has_losses_by_position() -> None:
    evaluation = read_evaluation("folder", "tokens.bin")
    assert evaluation["tokens"] == 1024
    (axes,) = position_loss_figure(evaluation["loss_by_position"]).axes
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), evaluation["loss_by_position"])


def test_figures_without_plans_say_so(tmp_path: Path) -> None:
    plans = read_plans([])
    figures = [planned_memory_figure(plans), memory_parts_figure(plans, "none")]
    figures.append(position_loss_figure([]))
    for number, figure in enumerate(figures):
        save_figure(figure, tmp_path / f"{number}.png")
        assert all(axes.texts for axes in figure.axes)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("refused.yaml", "refused.yaml: unknown key"),
        ("text.yaml", "plan: no JSON"),
        ("list.yaml", "a JSON object was expected"),
        ("short.yaml", "without peak_bytes"),
    ],
)
def test_a_bad_answer_is_an_error(config: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        read_plans([config])


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKWISE_PROGRAM", "/nowhere/blockwise")
    with pytest.raises(ProgramError, match="make build"):
        read_plans(CONFIGS)
