"""What cmake/install_dependencies.sh would call and says before, with a pip that only writes down."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON = """#!/bin/sh
case "$2" in *purelib*) echo "$PWD/site" ;; esac
[ "$1 $2 $3" != "-m pip install" ] || { echo "PIP $*"; echo "$*" >> pip.log; }
"""
DPKG_QUERY = """#!/bin/sh
shift 2
for name in "$@"; do echo "installed $name"; done
"""
CMAKE = """#!/bin/sh
[ "$1" != --version ] || echo "cmake version 3.25.1"
[ "$1" != -P ] || exit "${LOCATE:-0}"
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout on a machine that has all packages, with an empty .venv."""
    root = tmp_path / "checkout"
    (root / "cmake").mkdir(parents=True)
    for name in ("install_dependencies.sh", "debian_packages.txt"):
        shutil.copy(ROOT / "cmake" / name, root / "cmake" / name)
    shutil.copytree(ROOT / "python/requirements", root / "python/requirements")
    (root / "site").mkdir()
    program(root / ".venv/bin/python", PYTHON)
    program(root / "bin/dpkg-query", DPKG_QUERY)
    program(root / "bin/cmake", CMAKE)
    return root


def install(root: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    left_out = ("TORCH", "Torch_DIR", "CMAKE_PREFIX_PATH", "PYTHON", "CUDA", "CUDA_PATH")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    environment |= {"PATH": f"{root}/bin:{os.environ['PATH']}"} | settings
    return subprocess.run(
        ["bash", "cmake/install_dependencies.sh", *words],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def torch_calls(root: Path) -> list[str]:
    """What pip was asked for, of LibTorch, since the last look."""
    log = root / "pip.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    words = [line.split("--no-input ")[1] for line in lines]
    return [line for line in words if line.startswith("torch")]


def test_the_usual_wheel_and_its_sizes_before_it_is_taken(checkout: Path) -> None:
    result = install(checkout)
    assert result.returncode == 0, result.stderr
    assert torch_calls(checkout) == ["torch==2.13.0"]
    said = result.stdout.index("with CUDA 2.5 GB to download and 5.1 GB on disk")
    assert said < result.stdout.index("PIP")
    assert "TORCH=cpu" in result.stdout


def test_the_cpu_wheel_by_one_variable(checkout: Path) -> None:
    result = install(checkout, TORCH="cpu")
    assert torch_calls(checkout) == [f"torch==2.13.0+cpu {CPU_INDEX}"]
    assert result.stdout.index("0.2 GB to download, 0.8 GB") < result.stdout.index("PIP")


def test_the_choice_holds_without_being_said_again(checkout: Path) -> None:
    install(checkout, TORCH="cpu")
    torch_calls(checkout)
    for settings in ({}, {"TORCH": "cpu"}):
        result = install(checkout, **settings)
        assert torch_calls(checkout) == []
        assert "GB" not in result.stdout


def test_the_cpu_wheel_replaces_another(checkout: Path) -> None:
    install(checkout)
    torch_calls(checkout)
    install(checkout, TORCH="cpu")
    assert torch_calls(checkout) == [f"torch==2.13.0+cpu {CPU_INDEX}"]


@pytest.mark.parametrize("name", ["Torch_DIR", "CMAKE_PREFIX_PATH"])
def test_a_libtorch_that_is_there_is_not_downloaded(checkout: Path, name: str) -> None:
    result = install(checkout, **{name: "/opt/libtorch"})
    assert torch_calls(checkout) == []
    assert "LibTorch" not in result.stdout


def test_a_search_path_without_libtorch_is_announced_too(checkout: Path) -> None:
    result = install(checkout, CMAKE_PREFIX_PATH="/opt/nothing", LOCATE="1")
    assert torch_calls(checkout) == ["torch==2.13.0"]
    assert "5.1 GB" in result.stdout


def test_another_build_is_refused_before_anything_is_installed(checkout: Path) -> None:
    result = install(checkout, TORCH="rocm")
    assert result.returncode == 1
    assert result.stderr == "blockwise: TORCH is 'rocm'; it is cpu, or not given\n"
    assert not (checkout / "pip.log").exists()


@pytest.mark.parametrize("words", [(), ("tests",), ("developers",), ("fuzz",)], ids=str)
def test_a_user_gets_no_packages_of_tests_and_developers(
    checkout: Path, words: tuple[str, ...]
) -> None:
    assert install(checkout, *words).returncode == 0
    log = (checkout / "pip.log").read_text(encoding="utf-8")
    found = [name for name in ("users", "tests", "developers") if f"requirements/{name}.txt" in log]
    assert found == ["users", *(word for word in words if word != "fuzz")]
    (checkout / "pip.log").unlink()
    install(checkout, *words)
    assert not (checkout / "pip.log").exists()  # nothing is missing any more


def test_requirements_hold_each_other_and_are_exact() -> None:
    folder = ROOT / "python/requirements"
    packages = set[str]()
    for name, before in (("users", None), ("tests", "users"), ("developers", "tests")):
        lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith("#")]
        assert [line for line in lines if line.startswith("-r")] == ([f"-r {before}.txt"] if before else [])
        exact = [line.split("==")[0] for line in lines if not line.startswith("-r")]
        assert all(line.count("==") == 1 for line in lines if not line.startswith("-r"))
        assert not packages & set(exact)
        packages |= set(exact)
    assert not packages & {"torch", "torchvision"}  # LibTorch is the installer's own business


def test_an_unknown_set_is_refused(checkout: Path) -> None:
    result = install(checkout, "everything")
    assert result.returncode == 1
    assert result.stderr == 'blockwise: "everything" is not tests, developers, fuzz, slurm, counts or mpi\n'


def test_the_package_is_importable_in_the_environment(checkout: Path) -> None:
    install(checkout)
    link = checkout / "site/blockwise.pth"
    assert link.read_text(encoding="utf-8") == f"{checkout}/python\n{checkout}/notebooks\n"


@pytest.mark.parametrize("target", ["build", "quickstart", "test", "fuzz"])
def test_make_hands_the_choice_on(target: str) -> None:
    words = ["make", "--dry-run", "--no-print-directory", target, "TORCH=cpu"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "TORCH='cpu' CUDA='' bash cmake/install_dependencies.sh" in result.stdout


needs_no_nvcc = pytest.mark.skipif(
    shutil.which("nvcc", path="/usr/bin:/bin") is not None, reason="the system has a CUDA compiler"
)


@needs_no_nvcc
@pytest.mark.parametrize(
    ("words", "settings", "compiler"),
    [
        ((), {}, False),
        ((), {"CUDA": "1"}, True),
        (("developers",), {}, True),
        (("developers",), {"CUDA": "0"}, False),
    ],
)
def test_who_gets_a_cuda_compiler(
    checkout: Path, words: tuple[str, ...], settings: dict[str, str], compiler: bool
) -> None:
    # No nvcc of this machine.
    no_toolkit = {"PATH": f"{checkout}/bin:/usr/bin:/bin", "CUDA_PATH": "/nonexistent"}
    result = install(checkout, *words, **no_toolkit, **settings)
    assert result.returncode == 0, result.stderr
    log = (checkout / "pip.log").read_text(encoding="utf-8")
    assert ("cuda-toolkit[nvcc,cudart,cccl]==13.0.3" in log) == compiler
    assert ("CUDA compiler: 0.1 GB to download" in result.stdout) == compiler


@needs_no_nvcc
def test_a_libtorch_with_cuda_wants_a_cuda_compiler_unless_there_is_one(checkout: Path) -> None:
    program(checkout / ".venv/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so", "")
    toolkit(checkout / "toolkit", "13.0")
    install(checkout, CUDA_PATH=str(checkout / "toolkit"))
    assert "cuda-toolkit" not in (checkout / "pip.log").read_text(encoding="utf-8")
    install(checkout, CUDA_PATH="/nonexistent", PATH=f"{checkout}/bin:/usr/bin:/bin")
    assert "cuda-toolkit" in (checkout / "pip.log").read_text(encoding="utf-8")


def toolkit(root: Path, version: str) -> None:
    program(root / "bin/nvcc", f'#!/bin/sh\necho "Cuda compilation tools, release {version}, V{version}.88"\n')
    program(root / "lib64/libcudart_static.a", "")


@needs_no_nvcc
@pytest.mark.parametrize("lacks", ["version", "runtime"])
def test_a_cuda_compiler_that_the_build_cannot_use_is_none(checkout: Path, lacks: str) -> None:
    toolkit(checkout / "toolkit", "11.8" if lacks == "version" else "13.0")
    if lacks == "runtime":
        (checkout / "toolkit/lib64/libcudart_static.a").unlink()
    install(checkout, CUDA="1", CUDA_PATH=str(checkout / "toolkit"), PATH=f"{checkout}/bin:/usr/bin:/bin")
    assert "cuda-toolkit" in (checkout / "pip.log").read_text(encoding="utf-8")


@needs_no_nvcc
def test_a_libtorch_elsewhere_with_cuda_wants_a_cuda_compiler_too(checkout: Path) -> None:
    program(checkout / "other/lib/libtorch_cuda.so", "")
    elsewhere = {"Torch_DIR": str(checkout / "other/share/cmake/Torch"), "CUDA_PATH": "/nonexistent"}
    (checkout / "other/share/cmake/Torch").mkdir(parents=True)
    install(checkout, PATH=f"{checkout}/bin:/usr/bin:/bin", **elsewhere)
    assert "cuda-toolkit" in (checkout / "pip.log").read_text(encoding="utf-8")


def test_another_word_for_cuda_is_refused(checkout: Path) -> None:
    result = install(checkout, CUDA="yes")
    assert result.returncode == 1
    assert result.stderr == "blockwise: CUDA is 'yes'; it is 0, 1, or not given\n"
