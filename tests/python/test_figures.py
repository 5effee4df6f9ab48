from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from make_runs import RATES, RunSpec, gpt2_partition, member_id, open_run, write_run, write_sweep
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from blockwise.analysis.sweep_tables import best_configurations, configurations, loss_band
from blockwise.figures.__main__ import main
from blockwise.figures.partition import partition_picture, representative_tensors
from blockwise.figures.run import run_figure, time_split
from blockwise.figures.style import save_figure
from blockwise.figures.sweep import (
    final_loss_figure,
    loss_curve_figure,
    memory_figure,
    sweep_figure,
)
from blockwise.files.run import read_run
from blockwise.files.sweep import LEARNING_RATE, Override, Sweep, read_sweep


def line(axes: Axes, label: str) -> np.ndarray:
    """x and y of the line with a label that begins so."""
    found = [one for one in axes.get_lines() if str(one.get_label()).startswith(label)]
    assert len(found) == 1, label
    return np.asarray(found[0].get_xydata())


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    written = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        written += [text.get_text() for text in axes.texts]
    return "\n".join(written + [figure.get_supxlabel()])


# ---- loss curves -------------------------------------------------------------------------------


def test_curves_are_the_means_of_the_best_configurations(sweep: Sweep) -> None:
    (axes,) = loss_curve_figure(sweep).axes
    for _, row in best_configurations(sweep).iterrows():
        band = loss_band([sweep.runs[member] for member in row["ids"]])
        drawn = line(axes, f"{row['group']} (learning rate 0.006, 3 seeds)")
        np.testing.assert_allclose(drawn[:, 0], band["tokens"] / 1e3)
        np.testing.assert_allclose(drawn[:, 1], band["mean"])
    assert "thousands" in axes.get_xlabel()
    assert "nats per token" in axes.get_ylabel()


def test_bands_end_at_the_intervals(sweep: Sweep) -> None:
    (axes,) = loss_curve_figure(sweep).axes
    bands = [item for item in axes.collections if isinstance(item, PolyCollection)]
    best = best_configurations(sweep)
    assert len(bands) == len(best) == 2
    for drawn, ids in zip(bands, best["ids"], strict=True):
        band = loss_band([sweep.runs[member] for member in ids])
        ys = drawn.get_paths()[0].vertices[:, 1]
        assert ys.min() == pytest.approx(band["low"].min())
        assert ys.max() == pytest.approx(band["high"].max())


def test_the_loss_axis_leaves_the_untrained_model_out(sweep: Sweep) -> None:
    (axes,) = loss_curve_figure(sweep).axes
    bottom, top = axes.get_ylim()
    assert 1.5 < bottom < 1.65
    assert 2.3 < top < 3.5


def test_a_curve_that_rises_above_the_untrained_model_does_not_flatten_the_others(
    tmp_path: Path,
) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        return spec if "lr0.003" in name else None

    sweep = read_sweep(write_sweep(tmp_path, change))
    for member in sweep.members:
        if member.group == "adam_mini" and member.id in sweep.runs:
            evaluations = sweep.runs[member.id].evaluations
            evaluations.loc[evaluations.index[1], "loss"] = 8.0
    (axes,) = loss_curve_figure(sweep).axes
    assert line(axes, "adam_mini")[1, 1] == pytest.approx(8.0)
    assert axes.get_ylim()[1] < 5.0


def test_a_wide_band_does_not_flatten_the_curves(tmp_path: Path) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        spec.floor += 0.2 * spec.seed  # two seeds: an interval of twelve standard errors
        return spec if "lr0.003" in name and spec.seed < 3 else None

    (axes,) = loss_curve_figure(read_sweep(write_sweep(tmp_path, change))).axes
    means = line(axes, "adamw")[1:, 1]
    bottom, top = axes.get_ylim()
    assert top - bottom < 2 * (means.max() - means.min())


def test_one_seed_has_a_line_and_no_band(tmp_path: Path) -> None:
    write_sweep(tmp_path, lambda _, spec: spec if spec.seed == 1 else None)
    (axes,) = loss_curve_figure(read_sweep(tmp_path)).axes
    assert len(line(axes, "adamw (learning rate 0.006, 1 seed)")) == 7


# ---- final losses ------------------------------------------------------------------------------


def drawn_means(axes: Axes) -> dict[str, np.ndarray]:
    return {box.get_label(): np.asarray(box[0].get_xydata()) for box in axes.containers}


def test_means_stand_at_their_learning_rates(sweep: Sweep) -> None:
    (axes,) = final_loss_figure(sweep).axes
    table = configurations(sweep)
    means = drawn_means(axes)
    assert list(means) == ["adamw", "adam_mini"]
    for group, drawn in means.items():
        rows = table[table["group"] == group].sort_values(LEARNING_RATE)
        np.testing.assert_allclose(drawn[:, 0], rows[LEARNING_RATE], rtol=0.1)
        np.testing.assert_allclose(drawn[:, 1], rows["mean"])
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        "0.0015",
        "0.003",
        "0.006",
        "0.012",
    ]


def test_the_axis_shows_every_planned_rate(tmp_path: Path) -> None:
    write_sweep(tmp_path, lambda name, spec: spec if "lr0.003" in name else None)
    (axes,) = final_loss_figure(read_sweep(tmp_path)).axes
    left, right = axes.get_xlim()
    assert left < RATES[0]
    assert right > RATES[-1]


def test_every_seed_is_a_dot_and_every_interval_a_bar(accidents: Sweep) -> None:
    (axes,) = final_loss_figure(accidents).axes
    table = configurations(accidents)
    single = [one for one in axes.get_lines() if one.get_linestyle() == "None"]
    dots = [one for one in single if one.get_marker() == "o"]
    drawn = np.sort(np.concatenate([dot.get_ydata() for dot in dots]))
    ids = [member for ids in table["ids"] for member in ids]
    expected = [accidents.runs[member].evaluations["loss"].iloc[-1] for member in ids]
    np.testing.assert_allclose(drawn, np.sort(expected))
    for box in axes.containers:
        rows = table[table["group"] == box.get_label()].sort_values(LEARNING_RATE)
        segments = np.array(box[2][0].get_segments())
        np.testing.assert_allclose(segments[:, 0, 1], rows["low"])
        np.testing.assert_allclose(segments[:, 1, 1], rows["high"])


def test_diverged_runs_are_crosses_at_the_top_edge(accidents: Sweep) -> None:
    (axes,) = final_loss_figure(accidents).axes
    crosses = [one for one in axes.get_lines() if one.get_label() == "_diverged"]
    assert len(crosses) == 1
    rate, height = crosses[0].get_xydata()[0]
    assert rate == pytest.approx(1.2e-2, rel=0.1)
    assert 0.9 < height < 1
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["adamw", "adam_mini", "diverged"]
    # Nothing that is data reaches up to the cross.
    data = max(
        segment[:, 1].max() for box in axes.containers for segment in box[2][0].get_segments()
    )
    assert axes.transAxes.inverted().transform(axes.transData.transform((rate, data)))[1] < height


def with_overrides(
    sweep: Sweep, change: Callable[[dict[str, Override]], dict[str, Override]]
) -> Sweep:
    members = [replace(member, overrides=change(member.overrides)) for member in sweep.members]
    return replace(sweep, members=tuple(members))


def test_a_sweep_without_learning_rates_has_a_column_per_group(sweep: Sweep) -> None:
    plain = with_overrides(sweep, lambda old: {"optimizer.rule": old["optimizer.rule"]})
    (axes,) = final_loss_figure(plain).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["adamw", "adam_mini"]
    assert [means[0, 0] for means in drawn_means(axes).values()] == [0, 1]


def test_the_better_of_two_configurations_at_a_rate_is_drawn(sweep: Sweep) -> None:
    def change(old: dict[str, Override]) -> dict[str, Override]:
        # Two rates become two weight decays of one rate.
        rate = old[LEARNING_RATE]
        return {LEARNING_RATE: 1e-3 if rate < 5e-3 else 2e-3, "optimizer.weight_decay": rate}

    changed = with_overrides(sweep, change)
    (axes,) = final_loss_figure(changed).axes
    table = configurations(changed)
    best = table[table["group"] == "adamw"].groupby(LEARNING_RATE)["mean"].min()
    np.testing.assert_allclose(drawn_means(axes)["adamw"][:, 1], best)


def test_a_random_search_has_powers_of_ten_on_its_axis(sweep: Sweep) -> None:
    rates = iter(np.geomspace(1e-4, 1e-1, 24))
    searched = with_overrides(sweep, lambda _: {LEARNING_RATE: float(next(rates))})
    figure = final_loss_figure(searched)
    figure.draw_without_rendering()
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert any("10^{-3}" in label for label in labels)


# ---- memory ------------------------------------------------------------------------------------


def test_memory_bars_have_the_recorded_sizes(sweep: Sweep) -> None:
    (axes,) = memory_figure(sweep).axes
    bars = {box.get_label(): [bar.get_width() for bar in box] for box in axes.containers}
    assert list(bars) == ["parameters", "gradients", "exp_avg", "exp_avg_sq"]
    for row, group in enumerate(("adamw", "adam_mini")):
        memory = sweep.runs[member_id(group, 3e-3, 1)].memory / 2**20
        assert bars["parameters"][row] == pytest.approx(memory["parameters"])
        assert bars["exp_avg"][row] == pytest.approx(memory["state/exp_avg"])
        assert bars["exp_avg_sq"][row] == pytest.approx(memory["state/exp_avg_sq"])
    ends = [box.patches[1].get_x() + box.patches[1].get_width() for box in axes.containers]
    assert ends == sorted(ends)
    assert axes.get_xlabel() == "memory (MiB)"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["adamw", "adam_mini"]


def test_other_kinds_of_state_have_their_own_bars(tmp_path: Path) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        spec.state = ("momentum",) if "adamw" in name else spec.state
        return spec if "lr0.003-s1" in name else None

    (axes,) = memory_figure(read_sweep(write_sweep(tmp_path, change))).axes
    bars = {box.get_label(): [bar.get_width() for bar in box] for box in axes.containers}
    assert bars["momentum"][1] == 0 < bars["momentum"][0]
    assert bars["exp_avg"][0] == 0 < bars["exp_avg"][1]


# ---- whole figures -----------------------------------------------------------------------------


def test_legends_do_not_cover_data(accidents: Sweep) -> None:
    figure = sweep_figure(accidents)
    figure.draw_without_rendering()
    assert len(figure.axes) == 3
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_an_unfinished_sweep_says_so(sweep: Sweep, accidents: Sweep) -> None:
    note = texts(sweep_figure(accidents))
    assert "of 24 runs 21 finished, 1 diverged, 1 interrupted, 1 missing" in note
    assert "of 24 runs" not in texts(sweep_figure(sweep))


def test_a_sweep_that_has_not_begun_is_drawn_as_such(tmp_path: Path) -> None:
    figure = sweep_figure(read_sweep(write_sweep(tmp_path, lambda *_: None)))
    assert "no run has finished" in texts(figure)
    assert "no run has started yet" in texts(figure)


def test_a_group_has_one_colour_everywhere(sweep: Sweep) -> None:
    figure = sweep_figure(sweep)
    curves, losses, _ = figure.axes
    of_curves = {str(one.get_label()).split()[0]: one.get_color() for one in curves.get_lines()}
    of_means = {box.get_label(): box[0].get_color() for box in losses.containers}
    assert len(of_curves) == 2
    assert all(same_color(of_curves[group], of_means[group]) for group in of_means)
    assert not same_color(*of_means.values())


def test_a_run_has_its_losses_gradient_norm_and_time(run_file: Path) -> None:
    run = read_run(run_file)
    losses, norms, time = run_figure(run).axes
    np.testing.assert_array_equal(line(losses, "training")[:, 1], run.steps["loss"])
    np.testing.assert_array_equal(line(losses, "validation")[:, 1], run.evaluations["loss"])
    np.testing.assert_array_equal(norms.get_lines()[0].get_ydata(), run.steps["grad_norm"])
    parts = time_split(run)
    assert list(parts.index) == ["data", "forward", "backward", "optimizer", "other"]
    assert parts.sum() == pytest.approx(run.steps["seconds"].mean())
    np.testing.assert_allclose([bar.get_width() for bar in time.patches], 1e3 * parts)
    assert "ms" in time.get_xlabel()


def test_a_diverged_run_is_drawn_with_its_message(tmp_path: Path) -> None:
    spec = RunSpec(steps=40, status="diverged", message="loss nan at step 40")
    with open_run(tmp_path / "run.h5", spec) as file:
        file["steps/loss"][39] = np.nan
        file["steps/grad_norm"][38:] = np.inf
    figure = run_figure(read_run(tmp_path / "run.h5"))
    assert "diverged after step 40: loss nan at step 40" in texts(figure)


def test_a_run_without_steps_is_drawn_as_such(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", RunSpec(steps=0, status="running"))
    assert "no step recorded yet" in texts(run_figure(read_run(tmp_path / "run.h5")))


# ---- the partition -----------------------------------------------------------------------------


def test_one_tensor_stands_for_every_role(run_file: Path) -> None:
    partition = read_run(run_file).partition
    tensors = representative_tensors(partition)
    roles = [role for tensor in tensors for role in tensor["role"]]
    assert roles == list(partition["role"].drop_duplicates())
    layers = {int(tensor["layer"].iloc[0]) for tensor in tensors}
    assert layers == {-1, 0}


def test_a_fused_tensor_is_drawn_once_with_all_its_sections() -> None:
    table = pd.DataFrame([vars(section) for section in gpt2_partition()])
    fused = [tensor for tensor in representative_tensors(table) if len(tensor) > 1]
    assert len(fused) == 1
    assert list(fused[0]["role"]) == ["query", "key", "value"]


def test_the_picture_names_roles_structures_and_blocks(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", RunSpec(partition=gpt2_partition(), rule="mixed"))
    written = texts(partition_picture(read_run(tmp_path / "run.h5")))
    for section in gpt2_partition():
        assert section.role in written
    for words in (
        "50,257 blocks: tiles 1 × 64", "1 block: tiles 128 × 64", "4 blocks: tiles 16 × 64",
        "4 blocks: factored 16 × 64", "4,096 blocks: elements", "192 blocks: elements",
        "17 blocks: labels", "21 blocks: tiles 24 × 40", "rows 64 to 127 of 192 × 64",
    ):  # fmt: skip
        assert words in written
    assert "Partition mixed" in written


def test_tiles_are_drawn_with_their_true_edges(tmp_path: Path) -> None:
    sections = [section for section in gpt2_partition() if section.role == "mlp_out"]
    write_run(tmp_path / "run.h5", RunSpec(partition=sections))
    (axes,) = partition_picture(read_run(tmp_path / "run.h5")).axes
    (mesh,) = (item for item in axes.collections if isinstance(item, QuadMesh))
    corners = mesh.get_coordinates()
    x, y = corners[0, :, 0], corners[:, 0, 1]
    # 64 x 256 in tiles of 24 x 40; the last of each direction is smaller.
    np.testing.assert_allclose(
        (x - x[0]) / (x[-1] - x[0]) * 256, [0, 40, 80, 120, 160, 200, 240, 256]
    )
    np.testing.assert_allclose((y - y[0]) / (y[-1] - y[0]) * 64, [0, 24, 48, 64])
    colors = np.asarray(mesh.get_array()).reshape(3, 7, 3)
    assert not (colors[1:] == colors[:-1]).all(axis=-1).any()
    assert not (colors[:, 1:] == colors[:, :-1]).all(axis=-1).any()


def test_a_factored_section_has_a_bar_per_axis_and_group(tmp_path: Path) -> None:
    sections = [section for section in gpt2_partition() if section.role == "mlp_in"]
    write_run(tmp_path / "run.h5", RunSpec(partition=sections))
    (axes,) = partition_picture(read_run(tmp_path / "run.h5")).axes
    shapes = [
        np.subtract(item.get_coordinates().shape[:2], 1).tolist() for item in axes.collections
    ]
    assert shapes == [[1, 48], [48, 1], [48, 48]]


# ---- command line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_a_sweep_is_written_in_the_format_of_the_suffix(
    sweep_folder: Path, tmp_path: Path, suffix: str, start: bytes
) -> None:
    output = tmp_path / "new" / f"figure{suffix}"
    assert main([str(sweep_folder), "--output", str(output)]) == 0
    content = output.read_bytes()
    assert content.startswith(start)
    assert len(content) > 20_000
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_a_figure_is_saved_under_a_plain_name(run_file: Path, tmp_path: Path) -> None:
    figure = partition_picture(read_run(run_file))
    save_figure(figure, str(tmp_path / "a.PNG"))
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"does not end in \.png, \.pdf, \.svg"):
        save_figure(figure, tmp_path / "a.gif")


def test_equal_runs_make_equal_files(sweep_folder: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("a.svg", "b.svg")]
    for output in outputs:
        assert main([str(sweep_folder), "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("extra", [[], ["--partition"]], ids=["run", "partition"])
def test_a_run_is_written(run_file: Path, tmp_path: Path, extra: list[str]) -> None:
    output = tmp_path / "run.png"
    assert main([str(run_file.parent), "--output", str(output), *extra]) == 0
    assert output.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "neither a sweep (manifest.json) nor a run (run.h5)"),
        (["missing/run.h5"], "there is no such file"),
        (["sweep", "--partition"], "--partition draws one run"),
    ],
)
def test_bad_input_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "nothing").mkdir()
    write_sweep(tmp_path / "sweep", lambda *_: None)
    output = tmp_path / "figure.png"
    folder, *rest = arguments
    assert main([str(tmp_path / folder), *rest, "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_another_suffix_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path), "--output", "figure.gif"])
    assert exit_info.value.code == 2
    assert "'figure.gif' does not end in .png, .pdf, .svg" in capsys.readouterr().err


def test_a_damaged_member_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, lambda name, spec: spec if "lr0.003" in name else None)
    bad = tmp_path / "members" / member_id("adamw", 3e-3, 1) / "run.h5"
    bad.write_bytes(b"")
    assert main([str(tmp_path), "--output", str(tmp_path / "figure.png")]) == 0
    assert f"warning: left out: {bad}: is empty" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_exits_with_1(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([str(run_file), "--output", str(tmp_path / "file" / "figure.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err
