"""Leave-x-out: its table and figure, on a file that is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_runs import PlannedRun, RunSpec, write_planned
from test_notebook import execute, images

from blockwise.files.hdf5_file import RunFileError
from studies.leave_out import read_left_out
from studies.leave_out_figure import left_out_figure

# As rate_search.cpp writes it; the last one was at the grid's end, on one seed.
RATES = """\
left_out,sections,rate,low,high,mean_v,curvature,difference,half_width,p_value,at_end
1,h.0.attn.c_attn.weight:query,0.02,0.015,0.027,0.03,0.25,-0.0125,0.01,0.03,0
2,h.0.mlp.c_fc.weight:mlp_in lm_head.weight:lm_head,0.05,0.04,0.0625,0.04,0.125,0.002,0.02,0.7,0
4,a:key b:key c:key d:key,0.4,nan,nan,0.025,0,0.3,nan,nan,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rates.csv").write_text(RATES)
    return tmp_path


def test_the_table_has_what_the_program_wrote(folder: Path) -> None:
    table = read_left_out(folder)
    assert table["left_out"].tolist() == [1, 2, 4]
    assert table["sections"][1].split() == ["h.0.mlp.c_fc.weight:mlp_in", "lm_head.weight:lm_head"]
    assert table["at_end"].tolist() == [False, False, True]
    assert table["rate"].tolist() == [0.02, 0.05, 0.4]
    assert table["difference"].tolist() == [-0.0125, 0.002, 0.3]
    assert np.isnan(table["low"][2])
    assert np.isnan(table["curvature"][2])  # 0: not measured


def test_the_figure_shows_rates_and_differences(folder: Path) -> None:
    rates, differences = left_out_figure(folder).axes
    assert rates.get_yscale() == "log"
    assert [label.get_text() for label in rates.get_xticklabels()] == ["1", "2", "4"]
    lines = {line.get_label(): list(line.get_ydata()) for line in rates.get_lines()}
    assert lines["implied by mean(v)"] == [0.03, 0.04, 0.025]
    assert lines["best by curvature"][:2] == [0.25, 0.125]
    assert lines["_end"] == [0.4]
    (bars,) = rates.containers
    segments = bars.lines[2][0].get_segments()
    ends = [segment[:, 1].tolist() for segment in segments if len(segment)]
    np.testing.assert_allclose(ends, [[0.015, 0.027], [0.04, 0.0625]])
    (bars,) = differences.containers
    assert list(bars.lines[0].get_ydata()) == [-0.0125, 0.002, 0.3]
    np.testing.assert_allclose(bars.lines[2][0].get_segments()[0][:, 1], [-0.0225, -0.0025])


def test_another_methods_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="cannot be read"):
        read_left_out(tmp_path)
    (tmp_path / "rates.csv").write_text("group,factor\nquery,2\n")
    with pytest.raises(RunFileError, match="not of `blockwise search-lr --method leave_out`"):
        read_left_out(tmp_path)


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(steps=20, evaluate_every=10)
    runs = [PlannedRun("adamw", 1, {}, spec), PlannedRun("left_out", 1, {}, None)]
    write_planned(folder / "trials", "adamw", runs)
    monkeypatch.setenv("BLOCKWISE_SWEEP", str(folder))
    outputs = execute("leave-x-out.ipynb", monkeypatch)
    assert [len(image) > 10_000 for image in images(outputs)] == [True]
    tables = [out.data["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert "mlp_in" in tables[0]
    assert "missing" in tables[1]
    assert not [out for out in outputs if out.output_type in ("error", "stream")]
