"""A folder that CMake can search, from the files of Debian packages that are installed here.

Headers, package files and shared libraries of the packages, with the libraries that those need in
turn but the C and C++ runtimes. `usr/` is left off, and what lies by architecture under `include/`
moves up, where every compiler looks; `hdf5/` is HDF5 as its find module wants it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# Programs, which the other machine has its own of.
PROGRAMS = {"g++", "cmake", "ninja-build", "ccache", "hdf5-tools"}
# Of the C and C++ runtimes, which are the compiler's.
RUNTIME = re.compile(r"(ld-linux|lib(c|m|dl|rt|pthread|resolv|util|nsl|gcc_s|stdc\+\+|gomp|gfortran|quadmath))[-.]")
KEPT = re.compile(r"^/usr/(include/|share/[^/]*cmake|share/eigen3|lib/(.*/cmake/|.*\.so($|\.)|.*\.a$|cmake/))")


class PrefixError(Exception):
    """What keeps a prefix from being made, as a sentence."""


def listed_packages(path: Path) -> list[str]:
    """Those of debian_packages.txt that are libraries."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [name for name in lines if name and name not in PROGRAMS]


def _output(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PrefixError(f"{' '.join(words[:2])} says: {done.stderr.strip()}")
    return done.stdout


def _files(package: str) -> list[Path]:
    lines = _output("dpkg-query", "--listfiles", package).splitlines()
    found = [Path(line) for line in lines if KEPT.match(line)]
    # Archives only of what is no shared library.
    return [path for path in found if path.suffix != ".a" or path.with_suffix(".so") not in found]


def package_files(package: str) -> list[Path]:
    """A package without such files stands for those that it depends on."""
    if files := _files(package):
        return files
    depends = _output("dpkg-query", "--show", "--showformat=${Depends}", package)
    names = [part.split()[0] for part in depends.split(",") if part.strip()]
    found = [path for name in names for path in _files(name)]
    if not found:
        raise PrefixError(f"neither {package} nor what it depends on has headers or libraries")
    return found


def needed_libraries(libraries: Iterable[Path]) -> set[Path]:
    """What the dynamic linker finds for them here."""
    found = set()
    for library in libraries:
        done = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=False)
        for name, path in re.findall(r"(\S+) => (/\S+)", done.stdout):
            if not RUNTIME.match(name):
                found.add(Path(path))
    return found


def place(path: Path) -> Path:
    """Of a file of the system, in the prefix."""
    parts = path.parts[2:] if path.parts[1] == "usr" else path.parts[1:]
    if parts[0] == "include" and len(parts) > 2 and "-linux-gnu" in parts[1]:
        parts = (parts[0], *parts[2:])
    return Path(*parts)


def _copy(path: Path, prefix: Path) -> None:
    target = prefix / place(path)
    if path.is_dir() or target.is_symlink() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        end = path.resolve()
        _copy(end, prefix)
        target.symlink_to(Path(*[".."] * (len(place(path).parts) - 1)) / place(end))
    else:
        shutil.copy2(path, target)


def _link_sonames(prefix: Path) -> None:
    """The name under which a library is looked for at start is in another package than headers are."""
    for library in [path for path in prefix.glob("lib/**/*.so*") if not path.is_symlink()]:
        found = re.search(r"SONAME.*\[(.*)\]", _output("readelf", "--dynamic", "--wide", str(library)))
        if found and not (library.parent / found[1]).exists():
            (library.parent / found[1]).symlink_to(library.name)


def _find_hdf5(prefix: Path) -> None:
    """A folder with include/ and lib/, from the flavour's folders."""
    found = [path.parent for path in prefix.glob("include/hdf5/*/hdf5.h")]
    if not found:
        return
    flavour = found[0].name
    libraries = next(iter(prefix.glob(f"lib/**/hdf5/{flavour}")), None)
    if libraries is None:
        raise PrefixError(f"HDF5's headers are there, its libraries of the kind '{flavour}' are not")
    (prefix / "hdf5").mkdir()
    (prefix / "hdf5/include").symlink_to(Path("..") / found[0].relative_to(prefix))
    (prefix / "hdf5/lib").symlink_to(Path("..") / libraries.relative_to(prefix))


def make_prefix(packages: Iterable[str], prefix: Path) -> None:
    """Throws PrefixError for a package that is not installed."""
    files = [path for package in packages for path in package_files(package)]
    libraries = {path.resolve() for path in files if ".so" in path.name and path.exists()}
    for path in [*files, *sorted(needed_libraries(libraries))]:
        _copy(path, prefix)
    _link_sonames(prefix)
    _find_hdf5(prefix)
