"""Files that are damaged or made to harm: every reader gives data or RunFileError, in bounded time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from make_runs import RunSpec, Section, write_run
from make_spectra import SpectrumSpec, write_spectrum

from blockwise.files import hdf5_guard
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.partition_file import read_partition_file
from blockwise.files.partition_scores import read_scores
from blockwise.files.run import Run, read_run
from blockwise.files.spectra import read_spectrum
from blockwise.files.sweep import read_sweep
from studies.leave_out import read_left_out

SECONDS = 5.0  # of a file of a few kilobytes, also on a busy machine


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on a disk does not get better by waiting; and a hang needs no ten seconds."""
    monkeypatch.setattr("blockwise.files.hdf5_file._RETRY_SECONDS", ())
    monkeypatch.setattr(hdf5_guard, "_FILE_SECONDS", 2.0)


def write_tiny(path: Path) -> None:
    partition = [
        Section("a.weight", "query", "tiles", 0, 0, 8, 4, 2, 4),
        Section("a.bias", "bias", "elements", 0, 0, 8, 1),
    ]
    write_run(path, RunSpec(steps=5, evaluate_every=2, partition=partition))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "run.h5"
    write_tiny(path)
    return path.read_bytes()


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """The error's text, or nothing. Every other exception fails the test."""
    start = time.monotonic()
    try:
        read(path)
        return ""
    except RunFileError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return str(error)
    finally:
        assert time.monotonic() - start < SECONDS


def use_all(path: Path) -> Run:
    """Reads, and looks at every value as a table does."""
    run = read_run(path)
    assert run.status in ("running", "finished", "diverged", "failed", "interrupted")
    for frame in (run.steps, run.evaluations, run.partition):
        assert not frame.empty or len(frame.columns) > 3
        frame.describe()
    run.memory.sum()
    return run


# ---- bytes -------------------------------------------------------------------------------------


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    """One to eight bytes changed; half of the time within what is not values."""
    damaged = bytearray(content)
    used = [i for i in range(0, len(content), 16) if any(content[i : i + 16])]
    for _ in range(random.integers(1, 9)):
        begin = used[random.integers(len(used))]
        damaged[min(begin + random.integers(16), len(content) - 1)] = random.integers(256)
    return bytes(damaged)


def test_flipped_bytes_give_data_or_the_one_error(tmp_path: Path, whole: bytes) -> None:
    random = np.random.default_rng(20)
    path = tmp_path / "run.h5"
    errors = 0
    for _ in range(60):
        path.write_bytes(flipped(whole, random))
        errors += outcome(use_all, path) != ""
    assert errors > 10


def test_holes_and_cuts_give_data_or_the_one_error(tmp_path: Path, whole: bytes) -> None:
    random = np.random.default_rng(21)
    path = tmp_path / "run.h5"
    for _ in range(20):
        path.write_bytes(whole[: random.integers(len(whole))])
        assert outcome(use_all, path) != ""
        begin = random.integers(len(whole))
        length = random.integers(1, 2000)
        path.write_bytes(whole[:begin] + bytes(length) + whole[begin + length :])
        outcome(use_all, path)


# ---- structure ---------------------------------------------------------------------------------


def retyped(name: str, values: Any, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, data=values, **options)

    return change


def relinked(name: str, link: Callable[[h5py.File], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = link(file)

    return change


def deleted_attribute(item: str, name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[item].attrs[name]

    return change


def set_attribute(item: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[item].attrs[name] = value

    return change


def values_elsewhere(file: h5py.File) -> None:
    del file["steps/loss"]
    file.create_dataset("steps/loss", (5,), "f8", external=[("/dev/zero", 0, 40)])


def virtual(file: h5py.File) -> None:
    del file["steps/loss"]
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (5,))
    file.create_virtual_dataset("steps/loss", layout)


def never_written(file: h5py.File) -> None:
    del file["steps/loss"]
    file.create_dataset("steps/loss", (1 << 40,), "f8", chunks=(1024,), maxshape=(None,))


SURPRISES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "a dataset for a group": (retyped("steps", np.zeros(3)), "/steps: is no group"),
    "a group within a column's name": (
        lambda file: file.move("steps/loss", "steps/x/loss"), "no dataset /steps/loss",
    ),
    "text for numbers": (retyped("steps/loss", np.array([b"a"] * 5)), "/steps/loss: .*numbers"),
    "reals for integers": (retyped("steps/step", np.arange(5.0)), "/steps/step: .*integers"),
    "numbers for text": (retyped("partition/role", np.arange(2)), "/partition/role: .*text"),
    "a compound": (retyped("steps/loss", np.zeros(5, "f8,f8")), "/steps/loss: of type"),
    "complex numbers": (retyped("steps/loss", np.zeros(5, "c16")), "/steps/loss: of type"),
    "a matrix for a column": (retyped("steps/loss", np.zeros((5, 2))), "/steps/loss: of shape"),
    "a scalar for a column": (retyped("steps/loss", 1.0), "/steps/loss: of shape"),
    "no values at all": (retyped("steps/loss", h5py.Empty("f8")), "/steps/loss: of shape"),
    "a column for a scalar": (retyped("status/last_step", [1, 2]), "/status/last_step: of shape"),
    "a short column": (retyped("steps/loss", np.zeros(3)), "3"),
    "a short fixed table": (retyped("partition/role", np.array([b"a"])), "/partition/.*rows"),
    "a plain number as status": (retyped("status/state", 1), "/status/state: 1 is no state"),
    "an unknown status": (
        retyped("status/state", 9, dtype=h5py.enum_dtype({"finished": 1}, "i1")),
        "/status/state: 9 is no state",
    ),
    "no status": (lambda file: file.__delitem__("status"), "no dataset /status/state"),
    "no text": (retyped("config/yaml", 3), "/config/yaml: .*text"),
    "no UTF-8": (retyped("config/yaml", np.bytes_(b"\xff\xfe")), "utf-8"),
    "no hash": (deleted_attribute("config", "hash"), "/config: no attribute 'hash'"),
    "a list as a hash": (set_attribute("config", "hash", [1, 2]), "'hash' is no text"),
    "a list as a version": (set_attribute("/", "format_version", [1, 1]), "format_version"),
    "a number as a format": (set_attribute("/", "format", 3), "'format' is no text"),
    "arrays in the provenance": (set_attribute("provenance", "threads", [1.5]), "'threads'"),
    "a memory of reals": (retyped("memory/peak_allocated", 2.5), "/memory/peak_allocated"),
    "a memory beyond 63 bits": (
        retyped("memory/peak_allocated", np.uint64(2**64 - 1)), "damaged",
    ),
    "a hard link to the root": (relinked("memory/state/again", lambda file: file["/"]), "same"),
    "a hard link to its group": (relinked("steps/again", lambda file: file["steps"]), "same"),
    "a dataset with two names": (
        relinked("steps/loss", lambda file: file["evaluations/loss"]), "same object",
    ),
    "a soft link in a circle": (
        relinked("steps/loss", lambda _: h5py.SoftLink("/steps/loss")), "/steps/loss: is a link",
    ),
    "a link into another file": (
        relinked("steps/loss", lambda _: h5py.ExternalLink("/dev/zero", "/x")),
        "/steps/loss: is a link",
    ),
    "values in another file": (values_elsewhere, "/steps/loss: its values are in another"),
    "a virtual dataset": (virtual, "/steps/loss: its values are in another"),
    "values that are nowhere": (never_written, "/steps/loss: announces"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURPRISES)
def test_a_surprise_in_the_structure_is_the_one_error(tmp_path: Path, name: str) -> None:
    change, message = SURPRISES[name]
    path = tmp_path / "run.h5"
    write_tiny(path)
    with h5py.File(path, "a", libver=("v110", "v110")) as file:
        change(file)
    with pytest.raises(RunFileError, match=message):
        read_run(path)


def test_every_dataset_is_missed(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(whole)
    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "dtype") else None)
    for name in names:
        path.write_bytes(whole)
        with h5py.File(path, "a", libver=("v110", "v110")) as file:
            del file[name]
        error = outcome(read_run, path)
        # Kinds of memory are whatever there is.
        assert f"no dataset /{name}" in error or name.startswith("memory/")


def test_damaged_spectra_give_data_or_the_one_error(tmp_path: Path) -> None:
    random = np.random.default_rng(22)
    path = tmp_path / "spectrum.h5"
    write_spectrum(path, SpectrumSpec())
    content = path.read_bytes()
    errors = 0
    for _ in range(20):
        path.write_bytes(flipped(content, random))
        errors += outcome(read_spectrum, path) != ""
    assert errors > 3


# ---- the process that looks first --------------------------------------------------------------


def test_a_file_that_kills_or_stops_its_reader_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    write_tiny(path)
    program = (
        "import sys, time, signal, os; print('{}', flush=True); sys.stdin.readline(); "
        "os.kill(os.getpid(), signal.SIGSEGV) if KILL else time.sleep(60)"
    )
    for kill, message in ((True, "crashes on it, SIGSEGV"), (False, "does not end within")):
        monkeypatch.setattr(hdf5_guard, "_PROGRAM", program.replace("KILL", str(kill)))
        hdf5_guard._checker(os.getpid()).stop()
        assert message in outcome(read_run, path)
    monkeypatch.undo()
    hdf5_guard._checker(os.getpid()).stop()
    assert len(read_run(path).steps) == 5


def test_a_forked_process_asks_one_of_its_own(run_file: Path) -> None:
    read_run(run_file)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if len(read_run(run_file).steps) == 300 else 1)
        except BaseException:
            os._exit(2)
    assert len(read_run(run_file).steps) == 300
    assert os.waitpid(child, 0)[1] == 0


# ---- texts -------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "device", "folder"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Something under a file's name that never ends or cannot be read."""
    path = tmp_path / "thing"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    yield path


@pytest.mark.parametrize("name", ["run.h5", "manifest.json", "scores.csv", "rates.csv", "p.yaml"])
def test_what_is_no_regular_file_is_refused(no_file: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(no_file)
    readers: dict[str, Callable[[Path], Any]] = {
        "run.h5": read_run,
        "manifest.json": lambda path: read_sweep(path.parent),
        "scores.csv": lambda path: read_scores(path.parent),
        "rates.csv": lambda path: read_left_out(path.parent),
        "p.yaml": read_partition_file,
    }
    if name == "run.h5" and no_file.is_dir():
        pytest.skip("a folder stands for the run in it")
    assert "not a regular file" in outcome(readers[name], tmp_path / name)


MEMBER = {"id": "a", "group": "g", "seed": 1, "overrides": {}, "run": "members/a/run.h5"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("members", 3), ("members", {"a": 1}), ("members", [3]), ("members", [None]),
        ("members", [MEMBER | {"overrides": [1]}]), ("members", [MEMBER | {"seed": "x"}]),
        ("members", [MEMBER | {"seed": None}]), ("members", [MEMBER | {"seed": 1e999}]),
        ("members", [MEMBER | {"run": "/etc/passwd"}]),
        ("members", [MEMBER | {"run": "../../x"}]),
        ("members", [MEMBER | {"run": "a\0b"}]),
    ],
)  # fmt: skip
def test_a_manifest_of_other_types_is_named(tmp_path: Path, key: str, value: Any) -> None:
    good = {"format": "blockwise-sweep", "version": 1, "name": "n", "hash": "h", "baseline": "g"}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(good | {"members": [MEMBER]} | {key: value}))
    with pytest.raises(RunFileError, match=r"manifest\.json: not of its format"):
        read_sweep(tmp_path)


def test_a_deep_manifest_and_a_long_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(RunFileError, match="too deep"):
        read_sweep(tmp_path)
    good = {"format": "blockwise-sweep", "version": 1, "name": "n", "hash": "h", "baseline": "g"}
    long = good | {"members": [MEMBER | {"run": "x" * 5000}]}
    (tmp_path / "manifest.json").write_text(json.dumps(long))
    assert list(read_sweep(tmp_path).unreadable) == ["a"]


SECTION = "{rows: [0, 4], role: query, structure: tiles, tile: [2, 4]}"


@pytest.mark.parametrize(
    "tensors",
    [
        "3", "[3]", "[{}]", "[{name: a}]", "[{name: a, shape: [4, 4], sections: 3}]",
        "[{name: a, shape: [4, 4], sections: [3]}]", "[{name: a, shape: 3, sections: [SECTION]}]",
        "[{name: [a], shape: [4, 4], sections: [SECTION]}]",
        "[{name: a, shape: [4, x], sections: [SECTION]}]",
        "[{name: a, shape: [99999999999999999999, 4], sections: [SECTION]}]",
        "[{name: a, shape: [2, 4], sections: [SECTION]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [0, 4], role: q, structure: rings}]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [0, 4], role: q, structure: tiles,"
        " tile: [0, 1]}]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [0, 4], role: q, structure: labels,"
        " labels: 'x*3'}]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [0, 4], role: q, structure: factored,"
        " group: {}}]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [4], role: q, structure: elements}]}]",
        "[{name: a, shape: [4, 4], sections: [{rows: [0, 4], role: q, structure: elements,"
        " evidence: {lift: x}}]}]",
        "&a [*a]", "2001-99-99", "{[1, 2]: 3}", "!!binary 'x'", "!!python/object:os.system {}",
        "[" * 1500,
    ],
)  # fmt: skip
def test_a_partition_of_other_types_is_named(tmp_path: Path, tensors: str) -> None:
    path = tmp_path / "partition.yaml"
    text = f"format: blockwise-partition\nversion: 1\ntensors: {tensors}\n"
    path.write_text(text.replace("SECTION", SECTION))
    with pytest.raises(RunFileError, match=r"partition\.yaml: "):
        read_partition_file(path)


def test_a_few_lines_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "partition.yaml"
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40)]
    path.write_text("\n".join(lines))
    assert "aliases are not read" in outcome(read_partition_file, path)


def test_tables_of_other_types_are_named(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(
        "left_out,sections,rate,low,high,mean_v,curvature,difference,half_width,p_value,at_end\n"
        "1,a:query,fast,0,0,0,0,0,0,0,0\n"
    )
    with pytest.raises(RunFileError, match=r"rates\.csv: column 'rate' holds something else"):
        read_left_out(tmp_path)
    (tmp_path / "scores.csv").write_bytes(b"tensor,role\n\xff\xfe,\x00\n")
    with pytest.raises(RunFileError, match=r"scores\.csv: "):
        read_scores(tmp_path)
