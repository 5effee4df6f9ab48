"""`make gpu-check` and `make gpu-bundle`: the script that a GPU's minutes are spent with, rehearsed on the CPU."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/benchmarks/gpu"
sys.path[:0] = [str(FOLDER), str(ROOT / "tests/benchmarks/peers")]

import gpu_check  # noqa: E402
from check_report import FAILED, NO_TIME, PASSED, SKIPPED, CheckReport, StageFailed, StageSkipped, Target  # noqa: E402
from check_run import CheckRun  # noqa: E402
from debian_prefix import PrefixError, listed_packages, make_prefix, place  # noqa: E402

torch = pytest.importorskip("torch")
BUILD = Path(os.environ.get("BLOCKWISE_PROGRAM", ROOT / "build/release/blockwise")).parent


def is_sanitized() -> bool:
    cache = BUILD / "CMakeCache.txt"
    return cache.is_file() and re.search(r"^BLOCKWISE_SANITIZE:\w+=.+", cache.read_text(), re.MULTILINE) is not None


def run_in(folder: Path, seconds: float = 60.0) -> CheckRun:
    report = CheckReport(folder / "check.json", {"device": "cuda"})
    here = Path(sys.executable)
    return CheckRun(report, folder, "cuda", monotonic() + seconds, here, here)


def outcome(folder: Path, call, seconds: float = 60.0, least: float = 1.0):  # noqa: ANN001, ANN201
    return gpu_check.result_of(gpu_check.Stage("stage", call, least), run_in(folder, seconds))


def test_a_stage_that_fails_says_why_and_does_not_stop_the_others(tmp_path: Path) -> None:
    def raises(error: Exception):  # noqa: ANN202
        def call(_: CheckRun) -> None:
            raise error

        return call

    assert outcome(tmp_path, lambda _: None).state == PASSED
    for error, state in ((StageFailed("it is wrong"), FAILED), (StageSkipped("it is not here"), SKIPPED),
                         (ZeroDivisionError("by 0"), FAILED)):  # fmt: skip
        result = outcome(tmp_path, raises(error))
        assert (result.state, str(error) in result.reason) == (state, True)


def test_what_does_not_fit_in_the_minutes_is_said(tmp_path: Path) -> None:
    result = outcome(tmp_path, lambda _: pytest.fail("it was begun"), seconds=5.0, least=20.0)
    assert result.state == NO_TIME
    assert "it needs 20" in result.reason


def test_a_process_ends_with_its_time_and_keeps_its_words(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with pytest.raises(StageFailed, match="took more than 1 s"):
        run.finish("slow", [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], 1)
    assert (tmp_path / "logs/slow.log").read_text() == "begun\n"
    with pytest.raises(StageFailed, match="code 3: no more"):
        run.finish("ends", [sys.executable, "-c", "print('no more'); exit(3)"], 30)


def test_figures_are_held_against_their_targets(tmp_path: Path) -> None:
    report = CheckReport(tmp_path / "check.json", {"device": "cuda"})
    report.add_figure("share", 0.91, "", Target(0.9, is_least=True))
    report.add_figure("ratio", 0.7, "", Target(0.65, is_least=False))
    report.add_figure("plain", 3.0, "ms")
    assert [figure.met for figure in report.figures] == [True, False, None]
    assert report.failures() == ["ratio: 0.7 , wanted <= 0.65"]
    rehearsal = CheckReport(tmp_path / "check.json", {"device": "cpu"})
    rehearsal.add_figure("share", 0.1, "", Target(0.9, is_least=True))
    assert rehearsal.failures() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_a_sentence(tmp_path: Path) -> None:
    words = [sys.executable, FOLDER / "gpu_check.py", "--minutes", "1", "--output", tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not (BUILD / "test_cuda").exists(), reason="the tests are not built")
@pytest.mark.skipif(is_sanitized(), reason="minutes under a sanitizer, where its parts have tests of their own")
def test_a_rehearsal_runs_every_stage(tmp_path: Path) -> None:
    words = [sys.executable, FOLDER / "gpu_check.py", "--dry-run", "--minutes", "10", "--build", BUILD]
    for more in ([], ["--stages", "runs"]):  # the second trains on in the same folder
        call = [*words, "--output", tmp_path, *more]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    check = json.loads((tmp_path / "check.json").read_text())
    states = {stage["name"]: stage["state"] for stage in check["stages"]}
    assert list(states) == [stage.name for stage in gpu_check.STAGES]
    needs_gpu = {"build", "sanitizer", "products", "memory"}
    assert {name for name, state in states.items() if state != PASSED} <= needs_gpu
    figures = {figure["name"]: figure["value"] for figure in check["figures"]}
    assert all(value > 0 for value in figures.values())
    assert "adam_mini with clipping, 5M, of torch's fused AdamW with clipping" in figures
    assert "training step, blockwise of PyTorch compiled" in figures
    assert {f"GPT-2 125M, {rule}: train/loss" for rule in ("adamw", "adam_mini")} <= set(figures)
    again = json.loads((tmp_path / "check-2.json").read_text())
    assert [stage["name"] for stage in again["stages"]] == ["runs"]
    steps = [int(figure["unit"].split()[-1]) for check in (check, again) for figure in check["figures"]
             if figure["name"] == "GPT-2 125M, adam_mini: train/loss"]  # fmt: skip
    assert steps[0] < steps[1]


def test_the_bundle_has_the_libraries_and_not_the_programs() -> None:
    packages = listed_packages(ROOT / "cmake/debian_packages.txt")
    assert {"libhdf5-dev", "libyaml-cpp-dev", "catch2"} <= set(packages)
    assert not {"g++", "cmake", "ninja-build"} & set(packages)


def test_a_place_in_the_prefix_is_the_same_on_every_machine() -> None:
    assert place(Path("/usr/include/x86_64-linux-gnu/openssl/conf.h")) == Path("include/openssl/conf.h")
    assert place(Path("/lib/x86_64-linux-gnu/libz.so.1")) == Path("lib/x86_64-linux-gnu/libz.so.1")


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is not Debian")
def test_a_prefix_holds_what_its_libraries_need(tmp_path: Path) -> None:
    make_prefix(["libhdf5-dev", "libfmt-dev"], tmp_path)
    assert (tmp_path / "hdf5/include/hdf5.h").is_file()
    assert (tmp_path / "hdf5/lib/libhdf5.so").resolve().is_relative_to(tmp_path.resolve())
    for library in tmp_path.glob("lib/**/*.so*"):
        assert library.exists(), f"{library} leads nowhere"
    here = os.environ | {"LD_LIBRARY_PATH": str(next(tmp_path.glob("lib/*-linux-gnu")))}
    words = ["ldd", tmp_path / "hdf5/lib/libhdf5.so"]
    found = subprocess.run(words, capture_output=True, text=True, check=True, env=here)
    outside = [line for line in found.stdout.splitlines() if "libsz" in line or "libaec" in line]
    assert outside and all(str(tmp_path) in line for line in outside)
    with pytest.raises(PrefixError, match="no-such-package"):
        make_prefix(["no-such-package"], tmp_path / "other")
