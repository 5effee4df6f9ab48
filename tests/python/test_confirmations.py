"""The best configurations again, on seeds that chose nothing: as data frames and in figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from make_runs import CONFIRM_SEEDS, RunSpec, member_id, write_sweep
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from blockwise.analysis.sweep_tables import (
    best_configurations,
    configurations,
    confirmed_configurations,
    final_losses,
    judged_configurations,
    loss_curves,
    run_status,
    status_counts,
)
from blockwise.figures.loss_difference import loss_differences
from blockwise.figures.sweep import final_loss_figure, loss_curve_figure, sweep_figure
from blockwise.files.sweep import LEARNING_RATE, Sweep, read_sweep

GROUPS = ("adamw", "adam_mini")
BEST = [(group, 6e-3, seed) for group in GROUPS for seed in CONFIRM_SEEDS]


def worse(name: str, spec: RunSpec) -> RunSpec:
    """What confirms is a tenth worse than what chose: the luck of the choice is gone."""
    spec.floor += 0.1 if spec.seed in CONFIRM_SEEDS else 0.0
    return spec


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return read_sweep(write_sweep(tmp_path_factory.mktemp("confirmed"), worse, BEST))


def final(sweep: Sweep, group: str, rate: float, seed: int) -> float:
    return float(sweep.runs[member_id(group, rate, seed)].evaluations["loss"].iloc[-1])


def test_confirmations_are_marked_and_choose_nothing(confirmed: Sweep) -> None:
    assert len(confirmed.members) == 24
    assert len(confirmed.confirmations) == 8
    assert len(confirmed.runs) == 32
    assert not any(member.confirmed for member in confirmed.members)
    assert all(member.confirmed for member in confirmed.confirmations)
    assert confirmed.groups == list(GROUPS)
    assert configurations(confirmed)["runs"].tolist() == [3] * 8
    assert best_configurations(confirmed)["finished"].tolist() == [3, 3]


@pytest.mark.parametrize("table", [run_status, final_losses, loss_curves])
def test_tables_of_runs_have_them_with_a_flag(confirmed: Sweep, table: object) -> None:
    rows = table(confirmed)  # type: ignore[operator]
    ids = rows.loc[rows["confirmed"], "id"]
    assert set(ids) == {member_id(*plan) for plan in BEST}
    assert set(rows.loc[rows["confirmed"], "seed"]) == set(CONFIRM_SEEDS)
    assert rows.loc[~rows["confirmed"], "id"].nunique() == 24


def test_counts_say_how_many_confirm(confirmed: Sweep, sweep: Sweep) -> None:
    counts = status_counts(confirmed)
    assert dict(counts.loc["adamw"]) == {"finished": 16, "runs": 16, "confirmations": 4}
    assert "confirmations" not in status_counts(sweep)
    assert "12 finished, 4 finished to confirm" in repr(confirmed)
    assert repr(confirmed).startswith("Sweep of 32 runs, 2 groups: ")


def test_the_confirmed_table_is_over_the_seeds_that_confirm(confirmed: Sweep) -> None:
    table = confirmed_configurations(confirmed)
    assert table["group"].tolist() == list(GROUPS)
    assert table[LEARNING_RATE].tolist() == [6e-3, 6e-3]
    assert table["finished"].tolist() == [4, 4]
    losses = [final(confirmed, "adamw", 6e-3, seed) for seed in CONFIRM_SEEDS]
    assert table["mean"][0] == pytest.approx(np.mean(losses), rel=1e-12)
    half = 3.182446305283708 * np.std(losses, ddof=1) / 2  # Student's t, 3 degrees of freedom
    assert table["high"][0] - table["mean"][0] == pytest.approx(half, rel=1e-4)
    judged = judged_configurations(confirmed)
    assert judged["confirmed"].tolist() == [True, True]
    assert judged["mean"].tolist() == table["mean"].tolist()


def test_without_confirmations_the_seeds_that_chose_judge(sweep: Sweep) -> None:
    assert sweep.confirmations == ()
    assert confirmed_configurations(sweep).empty
    judged = judged_configurations(sweep)
    assert judged["confirmed"].tolist() == [False, False]
    assert judged["ids"].tolist() == best_configurations(sweep)["ids"].tolist()


def test_a_confirmation_of_what_is_no_longer_the_best_counts_nowhere(tmp_path: Path) -> None:
    plans = [("adamw", 3e-3, 11), ("adam_mini", 6e-3, 11)]
    sweep = read_sweep(write_sweep(tmp_path, worse, plans))
    assert confirmed_configurations(sweep)["group"].tolist() == ["adam_mini"]
    judged = judged_configurations(sweep)
    assert judged["group"].tolist() == list(GROUPS)
    assert judged["confirmed"].tolist() == [False, True]
    legend = loss_curve_figure(sweep).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "adamw (learning rate 0.006, 3 seeds, not confirmed)",
        "adam_mini (learning rate 0.006, 1 seed)",
    ]


def test_what_has_not_finished_confirms_nothing(tmp_path: Path) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        spec.status = "interrupted" if spec.seed in CONFIRM_SEEDS else "finished"
        return None if name == member_id("adamw", 6e-3, 11) else spec

    sweep = read_sweep(write_sweep(tmp_path, change, BEST))
    assert confirmed_configurations(sweep)["finished"].tolist() == [0, 0]
    assert judged_configurations(sweep)["confirmed"].tolist() == [False, False]
    status = run_status(sweep).set_index("id")["status"]
    assert status[member_id("adamw", 6e-3, 11)] == "missing"
    figure = sweep_figure(sweep)
    note = figure.texts[-1].get_text() if figure.texts else figure.get_supxlabel()
    assert "7 interrupted" in note
    assert "1 missing" in note


# ---- figures -----------------------------------------------------------------------------------


def titles(axes: Axes) -> str:
    return axes.get_title(loc="left") + " | " + " ".join(text.get_text() for text in axes.texts)


def test_the_curves_are_of_the_seeds_that_confirm(confirmed: Sweep) -> None:
    axes = loss_curve_figure(confirmed).axes[0]
    assert "confirmed" in titles(axes)
    assert "seeds that chose nothing" in titles(axes)
    line = next(line for line in axes.lines if str(line.get_label()).startswith("adamw"))
    assert line.get_label() == "adamw (learning rate 0.006, 4 seeds)"
    losses = [final(confirmed, "adamw", 6e-3, seed) for seed in CONFIRM_SEEDS]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(np.mean(losses), rel=1e-12)


def bars(axes: Axes, label: str) -> ErrorbarContainer:
    found = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    return next(container for container in found if container.get_label() == label)


def test_confirmed_losses_stand_beside_the_rates(confirmed: Sweep, sweep: Sweep) -> None:
    axes = final_loss_figure(confirmed).axes[0]
    assert "confirmed" in titles(axes)
    ticks = dict(zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert list(ticks) == ["0.0015", "0.003", "0.006", "0.012", "confirmed"]
    low, high = axes.get_xlim()
    places = []
    for group, mean in zip(GROUPS, confirmed_configurations(confirmed)["mean"], strict=True):
        marks, _, _ = bars(axes, f"_{group} confirmed")
        (x,), (y,) = np.asarray(marks.get_xdata()), np.asarray(marks.get_ydata())
        assert y == pytest.approx(mean, rel=1e-12)
        assert ticks["0.012"] * 1.3 < x < high
        assert to_hex(marks.get_markeredgecolor()) == "#262626"
        places.append(x)
    assert low < places[0] < ticks["confirmed"] < places[1]
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["adamw", "adam_mini", "confirmed"]
    plain = final_loss_figure(sweep).axes[0].get_legend()
    assert plain is not None
    assert [t.get_text() for t in plain.get_texts()] == ["adamw", "adam_mini"]


def test_a_diverged_confirmation_is_a_cross_in_its_column(tmp_path: Path) -> None:
    def change(_: str, spec: RunSpec) -> RunSpec:
        spec.status = "diverged" if spec.seed == 12 and spec.floor == 1.55 else "finished"
        return spec

    sweep = read_sweep(write_sweep(tmp_path, change, BEST))
    axes = final_loss_figure(sweep).axes[0]
    cross = next(line for line in axes.lines if line.get_label() == "_diverged")
    marks, _, _ = bars(axes, "_adamw confirmed")
    assert np.asarray(cross.get_xdata())[0] == np.asarray(marks.get_xdata())[0]
    assert confirmed_configurations(sweep)["diverged"].tolist() == [1, 0]


def test_a_sweep_without_rates_has_them_beside_what_chose(confirmed: Sweep) -> None:
    def only(members: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(
            dataclasses.replace(member, overrides={"optimizer.rule": member.group})
            for member in members
            if member.learning_rate == 6e-3
        )

    one = dataclasses.replace(
        confirmed, members=only(confirmed.members), confirmations=only(confirmed.confirmations)
    )
    axes = final_loss_figure(one).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == list(GROUPS)
    for place, group in enumerate(GROUPS):
        (chosen,) = np.asarray(bars(axes, group)[0].get_xdata())
        (judged,) = np.asarray(bars(axes, f"_{group} confirmed")[0].get_xdata())
        assert place - 0.5 < chosen < place < judged < place + 0.5


def test_a_wide_interval_does_not_flatten_the_rest(tmp_path: Path) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        far = name == member_id("adamw", 1.2e-2, 2)
        spec.floor += 0.3 if far else 0.0
        return spec if spec.seed < 3 else None

    axes = final_loss_figure(read_sweep(write_sweep(tmp_path, change))).axes[0]
    bottom, top = axes.get_ylim()
    assert top - bottom < 1.5  # the interval is 12.7 times 0.3 wide
    assert top > 1.55 + 0.3


def test_differences_are_paired_over_the_seeds_that_confirm(confirmed: Sweep) -> None:
    differences = loss_differences(confirmed)
    assert set(differences["seed"]) == set(CONFIRM_SEEDS)
