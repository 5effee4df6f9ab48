"""How time grows: a curve each, as rows of a CSV and a figure.

    PYTHONPATH=python .venv/bin/python tests/benchmarks/scaling/scaling.py build/release/blockwise \\
        --output scaling.csv --figure notebooks/scaling.png

Every point is a run of the program; the points of a curve take turns, --rounds times, and the least of each
is kept: what else the machine does only adds. --curves names some of them; the rows of the others stay as they
are in the file, which is written after every curve.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

CONFIG = Path(__file__).with_name("curves.yaml")


@dataclass(frozen=True)
class Row:
    curve: str
    line: str
    x: float
    seconds: float


@dataclass(frozen=True)
class Curve:
    name: str
    x: str
    y: str
    points: Callable[[Program, float], list[Row]]
    values: tuple[float, ...]
    log_x: bool = True
    log_y: bool = True


class Program:
    """The program under test, in a folder of its own for every call."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def json(self, *words: str) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run(
                [self.path, *words, "--json"], cwd=folder, capture_output=True, text=True, check=True
            )
        return json.loads(result.stdout)

    def seconds(self, *words: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([self.path, *words], cwd=folder, capture_output=True, check=True)
            return time.perf_counter() - start


def settings(values: dict[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield "--set"
        yield f"{key}={value}"


def bench(program: Program, curve: str, x: float, wanted: dict[str, str], *words: str) -> list[Row]:
    """Cases of `bench optimizers` by the lines' names, one at a time: a billion parameters leave no room for two."""
    common = ("bench", "optimizers", "--repetitions", "3", "--seconds", "0.05", *words)
    rows = []
    for name, line in wanted.items():
        (case,) = program.json(*common, "--cases", name)["groups"]["optimizers"]
        rows.append(Row(curve, line, x, case["seconds"]))
    return rows


UPDATES = {"at::_fused_adamw_": "torch's fused AdamW", "adamw": "AdamW", "adam_mini adam_mini": "Adam-mini"}


def by_parameters(program: Program, x: float) -> list[Row]:
    return bench(program, "parameters", x, UPDATES, "--parameters", str(int(x)))


def by_threads(program: Program, x: float) -> list[Row]:
    return bench(program, "threads", x, UPDATES, "--threads", str(int(x)))


def by_tensors(program: Program, x: float) -> list[Row]:
    wanted = {f"{rule}, {int(x)} tensors": line for rule, line in (("adamw", "AdamW"), ("adam_mini", "Adam-mini"))}
    return bench(program, "tensors", x, wanted, "--tensors", str(int(x)))


def spectrum(program: Program, values: dict[str, object]) -> tuple[float, int]:
    """Seconds of the measurement and how many products it took."""
    document = program.json("spectrum", str(CONFIG), "--no-figure", *settings(values))
    part = document["blocks"][0]
    return part["seconds"], part["products"]


def product_seconds(program: Program, values: dict[str, object]) -> float:
    seconds, products = spectrum(program, values)
    return seconds / products


METHODS = {
    "kept_graph": "kept graph",
    "fresh_graph": "fresh graph",
    "finite_difference": "differences",
}


def by_length(program: Program, x: float) -> list[Row]:
    def row(method: str, line: str) -> Row:
        values = {"hessian.method": method, "data.sequence_length": int(x), "model.block_size": int(x)}
        return Row("length", line, x, product_seconds(program, values))

    return [row(method, line) for method, line in METHODS.items()]


def by_batch(program: Program, x: float) -> list[Row]:
    def row(method: str, line: str) -> Row:
        values = {"hessian.method": method, "hessian.batch_size": int(x)}
        return Row("batch", line, x, product_seconds(program, values))

    return [row(method, line) for method, line in METHODS.items()]


def by_lanczos_steps(program: Program, x: float) -> list[Row]:
    def row(kind: str) -> Row:
        values = {"hessian.lanczos.steps": int(x), "hessian.lanczos.reorthogonalisation": kind}
        return Row("lanczos", kind, x, spectrum(program, values)[0])

    return [row(kind) for kind in ("full", "selective")]


def by_discovery(program: Program, x: float) -> list[Row]:
    def row(objective: str) -> Row:
        values = settings({"model.n_embd": int(x)})
        words = ("partition", str(CONFIG), "--objective", objective, "--output", "found", *values)
        return Row("discovery", objective, x, program.seconds(*words))

    return [row(objective) for objective in ("energy", "homogeneity", "signal_to_noise")]


def by_members(program: Program, x: float) -> list[Row]:
    """Seconds of eight members of a sweep, so many at a time, of one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sweep.yaml"
        config.write_text(CONFIG.read_text() + "sweep: {seeds: [1, 2, 3, 4, 5, 6, 7, 8]}\n")
        one = settings({"trainer.threads": 1, "trainer.steps": 60})
        words = ("sweep", str(config), "--output", "swept", "--jobs", str(int(x)), *one)
        return [Row("members", "eight members", x, program.seconds(*words))]


CURVES = (
    Curve("parameters", "parameters", "seconds a step", by_parameters, (1e5, 1e6, 1e7, 1e8, 1e9)),
    Curve("threads", "threads", "seconds a step", by_threads, (1, 2), log_x=False, log_y=False),
    Curve("tensors", "tensors of 8 million values together", "seconds a step", by_tensors, (2, 20, 200, 2000, 20000), log_y=False),
    Curve("length", "tokens of a sequence", "seconds a product", by_length, (32, 64, 128, 256, 512)),
    Curve("batch", "sequences", "seconds a product", by_batch, (1, 2, 4, 8, 16)),
    Curve("lanczos", "Lanczos steps", "seconds", by_lanczos_steps, (10, 20, 40, 80, 160)),
    Curve("discovery", "width of the model", "seconds", by_discovery, (32, 64, 128)),
    Curve("members", "members at a time", "seconds", by_members, (1, 2, 4), log_x=False, log_y=False),
)


def measured(program: Program, curve: Curve, rounds: int) -> list[Row]:
    least: dict[tuple[str, float], Row] = {}
    for _ in range(rounds):
        for value in curve.values:
            for row in curve.points(program, value):
                key = (row.line, row.x)
                if key not in least or row.seconds < least[key].seconds:
                    least[key] = row
                print(f"{row.curve:12} {row.line:22} {row.x:12g} {row.seconds:12.6f}", flush=True)
    return list(least.values())


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(row["curve"], row["line"], float(row["x"]), float(row["seconds"]))
            for row in csv.DictReader(file)
        ]


def write(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(row) for row in rows)


def draw(axes: Axes, curve: Curve, rows: list[Row]) -> None:
    for line in dict.fromkeys(row.line for row in rows):
        own = [row for row in rows if row.line == line]
        axes.plot([row.x for row in own], [row.seconds for row in own], "o-", markersize=3, label=line)
    if curve.log_x:
        axes.set_xscale("log")
    places = sorted({row.x for row in rows})
    axes.set_xticks(places, [f"{place:g}".replace("+0", "").replace("+", "") for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    if curve.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.legend(fontsize=7)


def figure(rows: list[Row], path: Path) -> None:
    curves = [curve for curve in CURVES if any(row.curve == curve.name for row in rows)]
    columns = min(4, len(curves))
    lines = -(-len(curves) // columns)
    drawing, axes = plt.subplots(lines, columns, figsize=(3.6 * columns, 3.0 * lines), squeeze=False)
    for place, curve in zip(axes.flat, curves):
        draw(place, curve, [row for row in rows if row.curve == curve.name])
    for place in list(axes.flat)[len(curves) :]:
        place.set_axis_off()
    drawing.tight_layout()
    drawing.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [curve.name for curve in CURVES]
    parser.add_argument("program", type=Path)
    parser.add_argument("--curves", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("scaling.csv"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    program = Program(options.program)
    rows = read(options.output) if options.output.exists() else []
    for curve in CURVES:
        if curve.name in options.curves:
            rows = [row for row in rows if row.curve != curve.name] + measured(program, curve, options.rounds)
            write(rows, options.output)
    if options.figure:
        figure(rows, options.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
