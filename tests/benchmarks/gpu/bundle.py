"""One archive with what a machine without a network lacks to build and check blockwise on its GPU.

    python3 tests/benchmarks/gpu/bundle.py --output build/gpu-bundle/blockwise-gpu.tar.xz

In it is a folder `blockwise`: the sources that git knows, as they are in the working tree, the
libraries of cmake/debian_packages.txt as `build/gpu-prefix` (debian_prefix.py), and the novels of
data/austen where they are. Not in it: compiler, CMake, ninja, CUDA, Python and PyTorch.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from debian_prefix import PrefixError, listed_packages, make_prefix

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES = 64 << 20
NOVELS = ("data/austen/train.txt", "data/austen/validation.txt")


def tracked_files() -> list[str]:
    words = ["git", "ls-files", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PrefixError("the sources of a bundle are those that git knows, and here is no git checkout")
    return [name for name in done.stdout.split("\0") if (ROOT / name).is_file()]


def commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def copy_sources(folder: Path) -> None:
    for name in [*tracked_files(), *(name for name in NOVELS if (ROOT / name).is_file())]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / "build").mkdir(exist_ok=True)
    (folder / "build/bundled-commit").write_text(commit() + "\n", encoding="utf-8")


def write_archive(folder: Path, output: Path) -> None:
    """By the suffix: .tar.xz is the smallest. Throws PrefixError above MOST_BYTES."""
    output.parent.mkdir(parents=True, exist_ok=True)
    names = ["--owner=0", "--group=0", "--sort=name", "--auto-compress"]
    subprocess.run(["tar", *names, "-cf", output, "-C", folder.parent, folder.name], check=True,
                   env={"XZ_OPT": "-2", "PATH": "/usr/bin:/bin"})  # fmt: skip
    size = output.stat().st_size
    if size > MOST_BYTES:
        output.unlink()
        raise PrefixError(f"the archive would have {size} bytes, the most is {MOST_BYTES}")
    print(f"{output}: {size / (1 << 20):.1f} MiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build/gpu-bundle/blockwise-gpu.tar.xz")
    parser.add_argument("--packages", nargs="*", help="Debian packages instead of cmake/debian_packages.txt")
    options = parser.parse_args()
    packages = options.packages or listed_packages(ROOT / "cmake/debian_packages.txt")
    try:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "blockwise"
            folder.mkdir()
            copy_sources(folder)
            make_prefix(packages, folder / "build/gpu-prefix")
            write_archive(folder, options.output)
    except PrefixError as error:
        print(f"gpu-bundle: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
