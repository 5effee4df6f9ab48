"""Builds the program and the tests of the device, against the LibTorch of this Python."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from check_report import StageFailed, StageSkipped
from check_run import ROOT, CheckRun

TARGETS = ("blockwise", "test_cuda")


def cmake_options(build: Path, prefix: Path) -> list[str]:
    """With a prefix of bundle.py where there is one."""
    import torch

    options = ["-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
               "-DCMAKE_UNITY_BUILD=ON", f"-DBLOCKWISE_PYTHON={sys.executable}",
               f"-DTorch_DIR={Path(torch.__file__).parent / 'share/cmake/Torch'}"]  # fmt: skip
    if prefix.is_dir():
        # Headers without package files are where every compiler looks, on Debian; and the libraries of the
        # prefix need each other, which only this kind of run path says.
        options += [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DHDF5_ROOT={prefix / 'hdf5'}",
                    f"-DCMAKE_CXX_FLAGS=-isystem {prefix / 'include'}",
                    "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags"]  # fmt: skip
    return options


def build(run: CheckRun) -> None:
    if run.program.exists() and run.tests.exists() and run.is_rehearsal:
        raise StageSkipped("the programs of this rehearsal were there")
    for name in ("cmake", "ninja"):
        if shutil.which(name) is None:
            raise StageFailed(f"there is no {name} on the PATH")
    folder = run.program.parent
    run.finish("configure", ["cmake", *cmake_options(folder, ROOT / "build/gpu-prefix")], 120)
    run.finish("build", ["ninja", "-C", folder, *TARGETS], 600)
