"""Intervals of the norms of a Hessian's rows, as the program measures them with few products."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from test_spectrum_program import GPT2, PROJECTION, measure, write_tokens

from blockwise.files.spectra import read_spectrum
from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

MODEL = (
    "--model", GPT2, "--precision", "fp64", "--set", f"hessian.parts.names=[{PROJECTION}]",
    "--set", "hessian.lanczos.steps=0",
)  # fmt: skip


def test_they_hold_the_exact_norms_where_students_are_too_short(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.bin")
    exact = measure(tmp_path / "exact", tokens, *MODEL, "--exact")
    few = measure(tmp_path / "few", tokens, *MODEL, "--set", "hessian.diagonal.products=8")
    truth = np.square(exact.matrix(0)).sum(axis=1)
    found = few.elements(0)
    low, high = found["squared_row_norms_low"], found["squared_row_norms_high"]
    assert (low <= found["squared_row_norms"]).all()
    assert (found["squared_row_norms"] <= high).all()
    # Rows share their eight probes, so the share is that of a few dozen independent ones.
    assert np.mean((low <= truth) & (truth <= high)) > 0.85
    student = found["squared_row_norms_half_width"]
    assert np.mean(abs(found["squared_row_norms"] - truth) <= student) < 0.92


def test_files_of_older_programs_have_none(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.bin")
    measure(tmp_path / "few", tokens, *MODEL, "--set", "hessian.diagonal.products=2")
    with h5py.File(tmp_path / "few" / "spectrum.h5", "r+") as file:
        for end in ("low", "high"):
            del file[f"hessian/vectors/0/squared_row_norms_{end}"]
    found = read_spectrum(tmp_path / "few").elements(0)
    assert found["squared_row_norms_low"].isna().all()
    assert found["squared_row_norms"].notna().all()
