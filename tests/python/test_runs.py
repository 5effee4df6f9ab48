from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from make_runs import (
    RATES,
    SEEDS,
    TOKENS_PER_STEP,
    RunSpec,
    append,
    gpt2_partition,
    llama_partition,
    member_id,
    open_run,
    validation_loss,
    write_run,
    write_sweep,
)

from blockwise.analysis.sweep_tables import (
    best_configurations,
    configurations,
    final_losses,
    loss_band,
    loss_curves,
    run_status,
    status_counts,
)
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_file import read_partition_file
from blockwise.files.run import read_run
from blockwise.files.spectra import read_spectrum
from blockwise.files.sweep import LEARNING_RATE, Sweep, read_sweep

# ---- one run -----------------------------------------------------------------------------------


def test_a_run_holds_what_was_written(run_file: Path) -> None:
    run = read_run(run_file)
    spec = RunSpec()
    assert run.path == run_file
    assert run.config == spec.config
    assert run.hash == "0123456789abcdef"
    assert run.provenance["compiler"] == "some compiler"
    assert run.provenance["threads"] == 2
    assert run.provenance["started_at"] == "2026-01-02T03:04:05Z"
    # A file without the table names one process.
    assert run.processes[["from_step", "threads"]].to_numpy().tolist() == [[1, 2]]
    assert run.processes["compiler"].tolist() == ["some compiler"]
    assert list(run.norms.columns) == ["step", "tensor", "gradient", "update", "weight", "rate"]
    assert run.norms.empty
    assert (run.status, run.message, run.last_step) == ("finished", "", 300)
    assert run.partition_rule == "adam_mini"


def test_energy_is_in_joules_where_the_counters_were_readable(tmp_path: Path) -> None:
    # -1 microjoule says that they stopped being readable.
    for name, energy in (("known", 12.5), ("lost", -1e-6), ("absent", None)):
        write_run(tmp_path / name / "run.h5", RunSpec(steps=2, energy=energy))
    assert read_run(tmp_path / "known").energy_joules == 12.5
    assert np.isnan(read_run(tmp_path / "lost").energy_joules)
    assert np.isnan(read_run(tmp_path / "absent").energy_joules)


def test_columns_have_all_rows_and_their_types(run_file: Path) -> None:
    run = read_run(run_file)
    assert list(run.steps["step"]) == list(range(1, 301))
    assert run.steps["step"].dtype == np.int64
    assert run.steps["tokens"].iloc[-1] == 300 * TOKENS_PER_STEP
    assert list(run.steps.columns[:3]) == ["step", "tokens", "loss"]
    assert len(run.steps.columns) == 12
    assert list(run.evaluations["step"]) == [0, 50, 100, 150, 200, 250, 300]
    expected = validation_loss(RunSpec(), run.evaluations["step"].to_numpy())
    np.testing.assert_array_equal(run.evaluations["loss"], expected)
    np.testing.assert_array_equal(run.evaluations["perplexity"], np.exp(expected))


def test_memory_is_in_bytes_with_every_kind_of_state(run_file: Path) -> None:
    memory = read_run(run_file).memory
    parameters = sum(s.rows * s.columns for s in llama_partition())
    values = sum(s.state_elements for s in llama_partition())
    assert memory["parameters"] == memory["gradients"] == 4 * parameters
    assert memory["state/exp_avg"] == 4 * parameters
    assert memory["state/exp_avg_sq"] == 4 * values
    assert memory["optimizer_state"] == 4 * (parameters + values)


def test_the_partition_has_a_row_per_section(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", RunSpec(partition=gpt2_partition()))
    partition = read_run(tmp_path / "run.h5").partition
    assert len(partition) == len(gpt2_partition())
    fused = partition[partition["tensor"] == "h.0.attn.c_attn.weight"]
    assert list(fused["role"]) == ["query", "key", "value"]
    assert list(fused["structure"]) == ["tiles", "factored", "elements"]
    assert list(fused["row_begin"]) == [0, 64, 128]
    assert list(fused["state_elements"]) == [4, 64 + 4 * 64, 64 * 64]


@pytest.mark.parametrize("status", ["running", "finished", "diverged", "failed", "interrupted"])
def test_every_status_is_read_by_name(tmp_path: Path, status: str) -> None:
    write_run(tmp_path / "run.h5", RunSpec(status=status, message="größer"))
    run = read_run(tmp_path / "run.h5")
    assert (run.status, run.message) == (status, "größer")


def test_a_run_folder_stands_for_its_file(run_file: Path) -> None:
    assert read_run(run_file.parent).path == run_file


def test_further_columns_are_kept(run_file: Path) -> None:
    with h5py.File(run_file, "a", libver=("v110", "v110")) as file:
        file.create_dataset("steps/loss_scale", data=np.full(300, 2.0))
    assert read_run(run_file).steps["loss_scale"].iloc[-1] == 2.0


def append_steps(writer: h5py.File, first: int, last: int) -> None:
    step = np.arange(first, last + 1)
    columns = writer["steps"]
    append(writer, "steps", {name: step.astype(columns[name].dtype) for name in columns})


def test_a_run_can_be_read_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with open_run(path, RunSpec(steps=100, status="running")) as writer:
        assert len(read_run(path).steps) == 100
        append_steps(writer, 101, 2100)
        run = read_run(path)
        assert (run.status, len(run.steps)) == ("running", 2100)


def test_rows_that_are_announced_but_not_written_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with open_run(path, RunSpec(steps=100, status="running")) as writer:
        writer["steps/step"].resize((140,))  # the rest reads as zeros
        for name in writer["steps"]:
            if name not in ("step", "loss"):
                writer[f"steps/{name}"].resize((150,))
        writer["steps/loss"].resize((130,))
        writer.flush()
        assert list(read_run(path).steps["step"]) == list(range(1, 101))


def test_a_run_whose_program_was_killed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    code = (
        "import os, signal, sys, pathlib\n"
        "from make_runs import RunSpec, open_run\n"
        "file = open_run(pathlib.Path(sys.argv[1]), RunSpec(steps=1500, status='running'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    run = read_run(path)
    assert (run.status, len(run.steps), len(run.evaluations)) == ("running", 1500, 31)


# ---- files that are no runs --------------------------------------------------------------------


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"no\.h5: there is no such file.*start the run"):
        read_run(tmp_path / "no.h5")


def test_a_file_that_is_no_hdf5_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.h5").write_text("step,loss\n1,5.5\n")
    with pytest.raises(RunFileError, match=r"run\.h5: is no HDF5 file.*goes on from the run's last"):
        read_run(tmp_path / "run.h5")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.h5").touch()
    with pytest.raises(RunFileError, match=r"run\.h5: is empty"):
        read_run(tmp_path / "run.h5")


def test_another_hdf5_file_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RunFileError, match=r"run\.h5: an HDF5 file, but not a run"):
        read_run(tmp_path / "run.h5")


def test_a_later_format_is_refused(run_file: Path) -> None:
    with h5py.File(run_file, "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(RunFileError, match="format version 2, this reader knows 1"):
        read_run(run_file)


def test_a_run_without_a_column_is_damaged(run_file: Path) -> None:
    with h5py.File(run_file, "a") as file:
        del file["steps/loss"]
    with pytest.raises(RunFileError, match=r"damaged.*no dataset /steps/loss"):
        read_run(run_file)


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_truncated_file_is_an_error_wherever_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setattr("blockwise.files.hdf5_file._RETRY_SECONDS", ())
    path, copy = tmp_path / "run.h5", tmp_path / "cut.h5"
    with open_run(path, RunSpec(steps=1000, status="running")) as writer:
        append_steps(writer, 1001, 2048)  # so that the end of the file is values
        shutil.copy(path, copy)  # what a killed program leaves
    whole = (copy if killed else path).read_bytes()
    expected = read_run(copy)
    accepted = 0
    for end in len(whole) - np.geomspace(1, len(whole), 50, dtype=int):
        copy.write_bytes(whole[:end])
        try:
            run = read_run(copy)
        except RunFileError as error:
            assert str(copy) in str(error)
            continue
        # Nothing had been written where it was cut.
        accepted += 1
        pd.testing.assert_frame_equal(run.steps, expected.steps)
        pd.testing.assert_frame_equal(run.evaluations, expected.evaluations)
        assert run.memory.equals(expected.memory)
    assert accepted < 25


def test_a_damaged_file_of_a_killed_program_does_not_hang(tmp_path: Path) -> None:
    path, copy = tmp_path / "run.h5", tmp_path / "copy.h5"
    with open_run(path, RunSpec(status="running")):
        content = bytearray(path.read_bytes())
    content[3000:60000] = bytes(57000)  # as after a power cut
    copy.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(RunFileError, match=r"copy\.h5: this run file is damaged"):
        read_run(copy)
    assert time.monotonic() - start < 5


# ---- a sweep -----------------------------------------------------------------------------------


def test_a_sweep_has_its_members_and_runs(sweep: Sweep) -> None:
    assert (sweep.name, sweep.hash, sweep.baseline) == ("quickstart", "fedcba9876543210", "adamw")
    assert sweep.groups == ["adamw", "adam_mini"]
    assert len(sweep.members) == len(sweep.runs) == 24
    assert sweep.members[0].overrides == {"optimizer.rule": "adamw", LEARNING_RATE: 1.5e-3}
    assert sweep.members[0].learning_rate == 1.5e-3
    assert sweep.unreadable == {}


def test_the_baseline_comes_first(sweep_folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((sweep_folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"baseline": "adam_mini"}))
    assert read_sweep(tmp_path).groups == ["adam_mini", "adamw"]


def test_statuses_include_runs_that_do_not_exist(accidents: Sweep) -> None:
    status = run_status(accidents).set_index("id")
    assert status.loc[member_id("adamw", 1.2e-2, 2), "status"] == "diverged"
    assert status.loc[member_id("adamw", 1.2e-2, 2), "message"] == "loss nan at step 120"
    assert status.loc[member_id("adam_mini", 1.5e-3, 3), "status"] == "interrupted"
    assert status.loc[member_id("adam_mini", 1.2e-2, 3), "status"] == "missing"
    counts = status_counts(accidents)
    assert list(counts.index) == ["adamw", "adam_mini"]
    assert dict(counts.loc["adam_mini"]) == {
        "diverged": 0, "finished": 10, "interrupted": 1, "missing": 1, "runs": 12,
    }  # fmt: skip


def test_one_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, lambda name, spec: spec if "lr0.003" in name else None)
    bad = folder / "members" / member_id("adamw", 3e-3, 1) / "run.h5"
    bad.write_bytes(bad.read_bytes()[:5000])
    sweep = read_sweep(folder)
    assert len(sweep.runs) == 5
    assert list(sweep.unreadable) == [member_id("adamw", 3e-3, 1)]
    assert status_counts(sweep).loc["adamw", "unreadable"] == 1
    assert len(final_losses(sweep)) == 24


def test_a_member_that_ran_something_else_stands_in_no_row(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, lambda name, spec: spec if "lr0.003" in name else None)
    manifest = json.loads((folder / "manifest.json").read_text())
    for number, entry in enumerate(manifest["members"]):
        entry["config_hash"] = "0123456789abcdef" if number % 2 else "another"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sweep = read_sweep(folder)
    wrong = [member.id for member in sweep.members[::2] if member.run.exists()]
    assert wrong
    assert list(sweep.unreadable) == wrong
    assert f"{wrong[0]} ran another configuration" in sweep.unreadable[wrong[0]]
    assert len(sweep.runs) == 6 - len(wrong)


def test_a_member_that_is_to_grow_has_not_finished(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, lambda name, spec: spec if "lr0.003" in name else None)
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(entry for entry in manifest["members"] if (folder / entry["run"]).exists())
    run = read_sweep(folder).runs[entry["id"]]
    assert run.status == "finished"
    entry.update(config_hash="another", shorter_hashes=[run.hash], steps=run.last_step + 1)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sweep = read_sweep(folder)
    assert not sweep.unreadable
    assert sweep.runs[entry["id"]].status == "interrupted"


def test_a_folder_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"manifest\.json: there is no such file"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not the manifest of a sweep"),
        ('{"format": "blockwise-sweep", "version": 2}', "version 2, this reader knows 1"),
        ('{"format": "blockwise-sweep", "version": 1}', "incomplete"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunFileError, match=rf"manifest\.json: {message}"):
        read_sweep(tmp_path)


# ---- tables ------------------------------------------------------------------------------------


def expected_final(rate: float, seed: int, floor: float) -> float:
    return float(validation_loss(RunSpec(rate=rate, seed=seed, floor=floor), np.array([300]))[0])


def test_final_losses_have_a_row_per_member(accidents: Sweep) -> None:
    table = final_losses(accidents).set_index("id")
    assert list(table.columns) == [
        "group", "seed", "confirmed", "optimizer.rule", LEARNING_RATE, "optimizer.partition.rule",
        "final_loss", "best_loss", "status", "optimizer_bytes", "peak_allocated",
        "seconds_per_step",
    ]  # fmt: skip
    assert len(table) == 24
    good = table.loc[member_id("adam_mini", 3e-3, 2)]
    assert good["final_loss"] == expected_final(3e-3, 2, 1.57)
    assert good["best_loss"] == good["final_loss"]
    assert (good["group"], good["seed"], good[LEARNING_RATE]) == ("adam_mini", 2, 3e-3)
    assert good["peak_allocated"] == 20_000_000
    assert good["seconds_per_step"] == pytest.approx(0.0633, rel=0.02)
    assert pd.isna(table.loc[member_id("adamw", 3e-3, 2), "optimizer.partition.rule"])


def test_only_finished_runs_have_a_final_loss(accidents: Sweep) -> None:
    table = final_losses(accidents).set_index("id")
    unfinished = table[table["status"] != "finished"]
    assert len(unfinished) == 3
    assert unfinished["final_loss"].isna().all()
    assert not pd.isna(unfinished.loc[member_id("adamw", 1.2e-2, 2), "best_loss"])
    assert pd.isna(unfinished.loc[member_id("adam_mini", 1.2e-2, 3), "optimizer_bytes"])


def test_a_configuration_averages_its_finished_seeds(accidents: Sweep) -> None:
    table = configurations(accidents)
    assert len(table) == 2 * len(RATES)
    full = table[(table["group"] == "adamw") & (table[LEARNING_RATE] == 6e-3)].iloc[0]
    losses = [expected_final(6e-3, seed, 1.55) for seed in SEEDS]
    spread = 4.302652729749461 * np.std(losses, ddof=1) / math.sqrt(3)
    assert (full["runs"], full["finished"], full["diverged"]) == (3, 3, 0)
    assert full["mean"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert full["high"] - full["mean"] == pytest.approx(spread, rel=1e-12)
    partial = table[(table["group"] == "adamw") & (table[LEARNING_RATE] == 1.2e-2)].iloc[0]
    assert (partial["runs"], partial["finished"], partial["diverged"]) == (3, 2, 1)
    assert partial["ids"] == (member_id("adamw", 1.2e-2, 1), member_id("adamw", 1.2e-2, 3))


def test_the_best_configuration_is_that_of_the_lowest_mean(sweep: Sweep) -> None:
    best = best_configurations(sweep)
    assert list(best["group"]) == ["adamw", "adam_mini"]
    assert list(best[LEARNING_RATE]) == [6e-3, 6e-3]


def test_a_lucky_seed_among_diverged_ones_is_not_the_best(tmp_path: Path) -> None:
    def change(name: str, spec: RunSpec) -> RunSpec | None:
        if name.startswith("adamw-lr0.006"):
            spec.floor -= 0.5
            spec.status = "finished" if spec.seed == 1 else "diverged"
        return spec if name.startswith("adamw") else None

    best = best_configurations(read_sweep(write_sweep(tmp_path, change))).set_index("group")
    assert best.loc["adamw", LEARNING_RATE] == 3e-3


def test_a_finished_run_with_an_infinite_loss_counts_as_diverged(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, lambda name, spec: spec if "adamw-lr0.003" in name else None)
    with h5py.File(folder / "members" / member_id("adamw", 3e-3, 1) / "run.h5", "a") as file:
        file["evaluations/loss"][-1] = np.inf
    table = configurations(read_sweep(folder)).set_index(["group", LEARNING_RATE])
    row = table.loc[("adamw", 3e-3)]
    assert (row["runs"], row["finished"], row["diverged"]) == (3, 2, 1)
    assert np.isfinite(row["mean"])


def test_groups_without_a_finished_run_have_no_best(tmp_path: Path) -> None:
    sweep = read_sweep(
        write_sweep(
            tmp_path, lambda name, spec: spec if "-s1" in name and "adamw" in name else None
        )
    )
    assert list(best_configurations(sweep)["group"]) == ["adamw"]
    empty = read_sweep(write_sweep(tmp_path / "empty", lambda *_: None))
    assert best_configurations(empty).empty
    assert loss_curves(empty).empty


def test_loss_curves_are_long(accidents: Sweep) -> None:
    curves = loss_curves(accidents)
    assert list(curves.columns) == [
        "id", "group", "seed", "confirmed", "learning_rate", "step", "tokens", "loss",
    ]  # fmt: skip
    assert curves["id"].nunique() == 23
    one = curves[curves["id"] == member_id("adamw", 6e-3, 3)]
    assert list(one["step"]) == [0, 50, 100, 150, 200, 250, 300]
    assert set(one["learning_rate"]) == {6e-3}
    assert one["loss"].iloc[-1] == expected_final(6e-3, 3, 1.55)


def test_a_band_covers_the_steps_that_all_runs_have(tmp_path: Path) -> None:
    for seed, every in ((1, 50), (2, 100)):
        write_run(tmp_path / str(seed) / "run.h5", RunSpec(seed=seed, evaluate_every=every))
    runs = [read_run(tmp_path / str(seed)) for seed in (1, 2)]
    band = loss_band(runs)
    assert list(band["step"]) == [0, 100, 200, 300]
    assert list(band["tokens"]) == [step * TOKENS_PER_STEP for step in band["step"]]
    ends = [run.evaluations["loss"].iloc[-1] for run in runs]
    assert band["mean"].iloc[-1] == pytest.approx(np.mean(ends), rel=1e-12)
    half = 12.706204736174694 * abs(ends[0] - ends[1]) / 2
    assert band["high"].iloc[-1] - band["mean"].iloc[-1] == pytest.approx(half, rel=1e-9)
    assert loss_band([]).empty


# ---- what a notebook shows ---------------------------------------------------------------------


def fits_a_screen(shown: str) -> bool:
    lines = shown.splitlines()
    return len(lines) <= 14 and all(len(line) <= 80 for line in lines)


def test_a_sweep_and_a_run_are_shown_on_a_screen(accidents: Sweep) -> None:
    shown = repr(accidents)
    assert fits_a_screen(shown)
    assert shown.startswith("Sweep of 24 runs, 2 groups: ")
    assert "1 diverged" in shown
    assert "1 missing" in shown
    for run in accidents.runs.values():
        assert fits_a_screen(repr(run))
    run = read_run(accidents.members[0].run)
    assert f"validation loss {run.evaluations['loss'].iloc[-1]:.4f}" in repr(run)
    many = tuple(dataclasses.replace(accidents.members[0], group=f"group {i}") for i in range(99))
    assert fits_a_screen(repr(dataclasses.replace(accidents, members=many, name="n" * 200)))
    assert "... and 87 more" in repr(dataclasses.replace(accidents, members=many))


def test_a_run_without_rows_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", RunSpec(steps=0, status="failed", message="line\n" * 50))
    assert fits_a_screen(repr(read_run(tmp_path)))


def test_each_reader_names_the_one_of_what_it_was_given(
    sweep_folder: Path, run_file: Path, tmp_path: Path
) -> None:
    for path in (sweep_folder, sweep_folder / "manifest.json", sweep_folder / "run.h5"):
        with pytest.raises(RunFileError, match=r"is the folder of a sweep.*blockwise\.read_sweep"):
            read_run(path)
    for path in (run_file.parent, run_file):
        with pytest.raises(RunFileError, match=r"is the folder of a run.*blockwise\.read_run"):
            read_sweep(path)
    with pytest.raises(RunFileError, match=r"blockwise\.read_sweep"):
        read_spectrum(sweep_folder)
    with pytest.raises(RunFileError, match=r"blockwise\.read_sweep"):
        read_partition_file(sweep_folder)
    assert read_sweep(sweep_folder / "manifest.json").folder == sweep_folder
    # A folder of tokens has a manifest, too.
    (tmp_path / "manifest.json").write_text('{"format": "blockwise-tokens"}')
    with pytest.raises(RunFileError) as error:
        read_run(tmp_path)
    assert "read_sweep" not in str(error.value)
