"""The table of curvature at size: on measurements of a small model that the program makes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from blockwise.files.spectra import read_spectrum
from studies.program import program, run_program
from studies.sizes.curvature import curvature_rows, main

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

CONFIG = """
name: small
data: {kind: markov_tokens, vocab_size: 16, sequence_length: 8}
model: {family: gpt2, n_layer: 2, n_head: 2, n_embd: 8}
optimizer: {rule: adamw, learning_rate: 1.0e-3}
trainer: {steps: 1, micro_batch_size: 2}
hessian: {batch_size: 2, lanczos: {steps: 30}, pairs: {count: 1}, trace: {products: 6}}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("curvature")
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    settings = {
        "whole": {},
        "layers": {"hessian.parts.each": "layer", "hessian.lanczos.steps": 0, "hessian.pairs.count": 0},
        "short": {"hessian.lanczos.steps": 4, "hessian.lanczos.reorthogonalisation": "none",
                  "hessian.trace.products": 0},
    }  # fmt: skip
    for name, changes in settings.items():
        run_program(["spectrum", str(config), "--no-figure", "--output", str(folder / name)], changes)
    return {name: folder / name for name in settings}


def test_ends_traces_and_norms_are_those_of_the_file(measured: dict[str, Path]) -> None:
    spectrum = read_spectrum(measured["whole"])
    heads, row = curvature_rows([spectrum])
    cells = dict(zip(heads, row, strict=True))
    part = spectrum.summary.iloc[0]
    assert row[:3] == ["whole", "all", f"{spectrum.blocks['elements'].sum():,}"]
    values = spectrum.eigenvalues.set_index("index")["value"]
    assert cells["largest"].startswith(f"{values[0]:.4g} ±")
    assert cells["smallest"].startswith(f"{values[-1]:.4g} ±")
    trace = f"{part['trace']:.4g} [{part['trace_low']:.4g}, {part['trace_high']:.4g}]"
    assert cells["trace [95 %]"] == trace
    norm = cells["Frobenius norm [95 %]"]
    assert norm.startswith(f"{math.sqrt(part['squared_frobenius']):.4g} [")
    # tr H^2 is at least the square of any eigenvalue; the estimate holds it up to its interval.
    assert float(norm.split(", ")[1].rstrip("]")) >= abs(values[0])
    assert cells["products"] == f"{part['products']}"


def test_what_was_not_measured_is_a_dash_and_what_did_not_converge_a_bound(
    measured: dict[str, Path],
) -> None:
    rows = curvature_rows([read_spectrum(measured[name]) for name in ("layers", "short")])
    assert [row[1] for row in rows[1:]] == ["outside the layers", "layer 0", "layer 1", "all"]
    assert all(row[3] == row[4] == "-" for row in rows[1:4])
    assert rows[4][3].startswith("<= ") and rows[4][4].startswith(">= ")
    assert rows[4][5] == rows[4][6] == "-"


def test_the_command_prints_a_table_or_one_error(
    measured: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([str(measured["whole"]), str(measured["layers"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 1 + 3 and all(line.startswith("| ") for line in lines)
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
