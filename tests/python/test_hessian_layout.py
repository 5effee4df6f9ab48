"""The tables of a spectrum file keep their names, types, units and texts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from conftest import REPOSITORY

from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

SCRIPT = REPOSITORY / "tests" / "golden" / "record_hessian_layout.py"
specification = importlib.util.spec_from_file_location("record_hessian_layout", SCRIPT)
assert specification is not None and specification.loader is not None
record = importlib.util.module_from_spec(specification)
specification.loader.exec_module(record)


@pytest.mark.parametrize("kind", list(record.KINDS))
def test_a_spectrum_file_holds_what_was_recorded(tmp_path: Path, kind: str) -> None:
    found = record.layout(record.measure(program(), tmp_path, kind))
    expected = record.recorded()[kind]
    assert list(found) == list(expected)
    for name, attributes in expected.items():
        assert found[name] == attributes, name
