from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from make_runs import RunSpec, write_run
from make_spectra import (
    COLUMNS,
    RULES,
    Block,
    SpectrumSpec,
    exact_spectrum,
    flat_eigenvalues,
    gpt2_parameters,
    gpt2_spectrum,
    lanczos_quadrature,
    network_eigenvalues,
    planted_eigenvalues,
    semicircle_eigenvalues,
    symmetric_matrix,
    table,
    write_hessian,
    write_spectrum,
)
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from blockwise.analysis.spectral_density import (
    cumulative_band,
    density,
    exact_eigenvalues,
    quadrature_trace,
    spectral_measure,
    split_outliers,
)
from blockwise.figures.__main__ import main
from blockwise.figures.block_matrix import (
    coupling_figure,
    coupling_matrix,
    distance_figure,
    distance_matrix,
)
from blockwise.figures.density import density_picture
from blockwise.figures.eigenvalue_axis import EigenvalueAxis
from blockwise.figures.energy import energy_figure
from blockwise.figures.hessian_matrix import block_parameters, matrix_figure, max_pooled, spread
from blockwise.figures.run import run_figure
from blockwise.figures.spectrum import block_spectra_figure, eigenvalue_ends, spectrum_figure
from blockwise.figures.spectrum_course import spectrum_course, spectrum_course_figure
from blockwise.figures.style import save_figure
from blockwise.files.hdf5_file import RunFileError
from blockwise.files.run import read_run
from blockwise.files.spectra import Spectrum, read_spectrum

GPT2 = [name for name, *_ in gpt2_parameters(layers=1)]
PARAMETERS = [("a.weight", "mlp_in", 0, 30), ("a.bias", "bias", 0, 4), ("b.weight", "mlp_in", 1, 6)]


def written(folder: Path, spec: SpectrumSpec) -> Spectrum:
    return read_spectrum(write_spectrum(folder / "spectrum.h5", spec))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Spectrum:
    """A block per tensor, two steps."""
    return written(tmp_path_factory.mktemp("gpt2"), gpt2_spectrum((0, 100), layers=1))


@pytest.fixture(scope="session")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Spectrum:
    """One block with its matrix, all eigenvalues and no quadrature."""
    return written(tmp_path_factory.mktemp("exact"), exact_spectrum(PARAMETERS))


def run_with_hessian(path: Path, spec: SpectrumSpec | None) -> Path:
    write_run(path, RunSpec())
    with h5py.File(path, "a", libver=("v110", "v110")) as file:
        if spec is None:
            for name, columns in COLUMNS.items():
                for column in columns.split():
                    kind = "S1" if column in ("name", "role") else "f8"
                    file.create_dataset(f"hessian/{name}/{column}", (0,), dtype=kind)
        else:
            write_hessian(file, spec)
    return path


# ---- reading -----------------------------------------------------------------------------------


def test_a_spectrum_holds_what_was_written(tmp_path: Path) -> None:
    spec = SpectrumSpec(
        blocks=[Block("h.0", flat_eigenvalues(50), "mlp_in", 0), Block("größer", -np.ones(3))],
        steps=(0, 10), status="failed", message="no memory", config="hessian:\n  each: layer\n",
    )  # fmt: skip
    spectrum = written(tmp_path, spec)
    assert spectrum.path == tmp_path / "spectrum.h5"
    assert (spectrum.config, spectrum.hash) == (spec.config, "0123456789abcdef")
    assert spectrum.provenance == {"compiler": "some compiler", "threads": 2}
    assert (spectrum.status, spectrum.message) == ("failed", "no memory")
    assert spectrum.steps == [0, 10]
    assert spectrum.blocks.to_dict("records") == [
        {"name": "h.0", "role": "mlp_in", "layer": 0, "index": -1, "elements": 50},
        {"name": "größer", "role": "", "layer": -1, "index": -1, "elements": 3},
    ]
    assert list(spectrum.parameters["offset"]) == [0, 50]
    row = spectrum.rows("summary", 10, "größer").iloc[0]
    assert row["block"] == 1
    assert (row["trace"], row["trace_error"]) == pytest.approx((-3.3, 0.033))
    assert (row["loss"], row["peak_bytes"]) == (pytest.approx(3.49), 10_000_001)
    largest = spectrum.rows("eigenvalues", 0, "h.0").set_index("index")["value"]
    assert (largest[0], largest[-1]) == (1.0, -1.0)
    assert spectrum.quadrature.groupby(["step", "block", "probe"])["weight"].sum().to_numpy() == (
        pytest.approx(1)
    )


def test_every_table_has_its_columns_and_names_beside_the_ids(gpt2: Spectrum) -> None:
    for name in ("summary", "eigenvalues", "quadrature", "symmetries", "couplings", "distances",
                 "preconditioning", "energies"):  # fmt: skip
        frame = getattr(gpt2, name)
        assert set(COLUMNS[name].split()) <= set(frame.columns), name
    assert list(gpt2.couplings.columns[:5]) == [
        "step", "row_block", "row_block_name", "column_block", "column_block_name",
    ]  # fmt: skip
    for ids in ("row_block", "column_block"):
        assert list(gpt2.couplings[f"{ids}_name"]) == [GPT2[i] for i in gpt2.couplings[ids]]
    assert list(gpt2.energies["rule_name"]) == [RULES[i] for i in gpt2.energies["rule"]]
    assert list(gpt2.energies["tensor_name"]) == [GPT2[i] for i in gpt2.energies["tensor"]]
    assert set(gpt2.symmetries["symmetry_name"]) == {"shift of the logits", "scale of the keys"}
    assert list(gpt2.summary["block_name"]) == 2 * GPT2
    assert gpt2.preconditioning.empty
    assert "block_name" in gpt2.preconditioning
    assert gpt2.summary["step"].dtype == np.int64


def test_a_folder_stands_for_its_spectrum_or_its_run(tmp_path: Path) -> None:
    run_with_hessian(tmp_path / "run.h5", SpectrumSpec(blocks=[Block("of the run", np.ones(9))]))
    spectrum = read_spectrum(tmp_path)
    assert spectrum.path.name == "run.h5"
    assert list(spectrum.blocks["name"]) == ["of the run"]
    assert spectrum.provenance["compiler"] == "some compiler"
    assert len(read_run(tmp_path).steps) == 300
    write_spectrum(tmp_path / "spectrum.h5", SpectrumSpec())
    assert list(read_spectrum(tmp_path).blocks["name"]) == ["model"]


def test_an_exact_matrix_is_read_by_name_and_number(exact: Spectrum) -> None:
    matrix = exact.matrix("model")
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, symmetric_matrix(PARAMETERS))
    np.testing.assert_array_equal(exact.matrix(0), matrix)
    np.testing.assert_allclose(exact_eigenvalues(exact, 0, 0), np.linalg.eigvalsh(matrix))


def test_a_live_file_has_only_rows_that_were_filled(tmp_path: Path) -> None:
    path = write_spectrum(tmp_path / "spectrum.h5", SpectrumSpec(status="running", steps=(0, 5)))
    rows = read_spectrum(path).quadrature
    with h5py.File(path, "a") as file:
        for column, longer in zip(COLUMNS["quadrature"].split(), (9, 7, 7, 8, 7), strict=True):
            file[f"hessian/quadrature/{column}"].resize((len(rows) + longer,))
    pd.testing.assert_frame_equal(read_spectrum(path).quadrature, rows)
    with h5py.File(path, "a") as file:
        file["hessian/quadrature/node"][len(rows)] = 0.5  # before its step
    pd.testing.assert_frame_equal(read_spectrum(path).quadrature, rows)
    first = write_spectrum(tmp_path / "first.h5", SpectrumSpec(status="running"))
    rows = read_spectrum(first).quadrature
    with h5py.File(first, "a") as file:
        for column in COLUMNS["quadrature"].split():  # at step 0 only the zeros tell
            file[f"hessian/quadrature/{column}"].resize((len(rows) + 7,))
    pd.testing.assert_frame_equal(read_spectrum(first).quadrature, rows)


def test_steps_and_blocks_that_do_not_exist_are_named(gpt2: Spectrum, tmp_path: Path) -> None:
    assert gpt2.measured_step() == 100
    with pytest.raises(ValueError, match="step 7 was not measured; there are 0, 100"):
        gpt2.measured_step(7)
    with pytest.raises(ValueError, match=r"no block is called 'x'; there are wte.*\.\.\."):
        gpt2.block_id("x")
    with pytest.raises(ValueError, match="block 16: there are blocks 0 to 15"):
        gpt2.block_id(16)
    twins = written(tmp_path, SpectrumSpec(blocks=[Block("a", np.ones(3))] * 2))
    with pytest.raises(ValueError, match="2 blocks are called 'a': give the number"):
        twins.block_id("a")
    assert twins.block_id(1) == 1


# ---- files that are no spectra -----------------------------------------------------------------


def test_a_run_without_measurements_says_how_to_ask_for_them(tmp_path: Path) -> None:
    message = "this run has no Hessian measurements: give its YAML a section 'hessian' with 'every'"
    write_run(tmp_path / "run.h5", RunSpec())
    with pytest.raises(RunFileError, match=message):
        read_spectrum(tmp_path)
    run_with_hessian(tmp_path / "empty" / "run.h5", None)
    with pytest.raises(RunFileError, match=message):
        read_spectrum(tmp_path / "empty")


def test_a_run_that_has_not_measured_yet_is_no_error_until_it_is_drawn(tmp_path: Path) -> None:
    spectrum = read_spectrum(run_with_hessian(tmp_path / "run.h5", SpectrumSpec(steps=())))
    assert spectrum.steps == []
    assert len(spectrum.blocks) == 1
    with pytest.raises(RunFileError, match="no measurement has been recorded yet"):
        spectrum_figure(spectrum)


def test_wrong_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"neither a spectrum \(spectrum\.h5\) nor a run"):
        read_spectrum(tmp_path)
    with pytest.raises(RunFileError, match=r"no\.h5: there is no such file.*blockwise spectrum"):
        read_spectrum(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("eigenvalues")
    with pytest.raises(RunFileError, match=r"text\.h5: is no HDF5 file.*measure again"):
        read_spectrum(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RunFileError, match=r"not a spectrum .*a spectrum has 'blockwise-spectrum'"):
        read_spectrum(tmp_path / "other.h5")


def test_a_spectrum_is_no_run(tmp_path: Path) -> None:
    path = write_spectrum(tmp_path / "spectrum.h5", SpectrumSpec())
    with pytest.raises(RunFileError, match=r"not a run .*'blockwise-spectrum'"):
        read_run(path)


def test_damaged_spectra_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockwise.files.hdf5_file._RETRY_SECONDS", ())
    path = write_spectrum(tmp_path / "spectrum.h5", SpectrumSpec())
    with h5py.File(path, "a") as file:
        file["hessian/quadrature/block"][3] = 1
    with pytest.raises(RunFileError, match=r"spectrum file is damaged .*block 1 of 1"):
        read_spectrum(path)
    with h5py.File(path, "a") as file:
        del file["hessian/quadrature/node"]
    with pytest.raises(RunFileError, match="damaged.*no dataset /hessian/quadrature/node"):
        read_spectrum(path)
    path.write_bytes(path.read_bytes()[:-2000])
    start = time.monotonic()
    with pytest.raises(RunFileError, match=r"spectrum\.h5: this spectrum file is damaged"):
        read_spectrum(path)
    assert time.monotonic() - start < 5


def test_a_matrix_that_was_not_asked_for_is_named(gpt2: Spectrum) -> None:
    with pytest.raises(RunFileError, match="no exact matrix .*'exact: true'"):
        gpt2.matrix("wte.weight")


# ---- density and trace -------------------------------------------------------------------------


def test_a_density_integrates_to_the_weights_and_has_gaussian_peaks() -> None:
    nodes = pd.DataFrame(
        {"probe": [0, 0, 1, 1], "node": [0.0, 2.0, 0.0, 2.0], "weight": [0.75, 0.25, 0.25, 0.75]}
    )
    grid = np.linspace(-3, 5, 4001)
    values = density(nodes, grid, 0.2)
    assert np.trapezoid(values, grid) == pytest.approx(1, abs=1e-9)
    assert density(nodes, [0.0], 0.2)[0] == pytest.approx(0.5 / (0.2 * math.sqrt(2 * math.pi)))
    inside = nodes.assign(weight=nodes["weight"].where(nodes["node"] < 1, 0.0))
    assert np.trapezoid(density(inside, grid, 0.2), grid) == pytest.approx(0.5, abs=1e-9)
    assert density(nodes, grid.reshape(-1, 1), 0.2).shape == (4001, 1)
    with pytest.raises(ValueError, match="sigma is 0, not above 0"):
        density(nodes, grid, 0)


def test_the_density_of_a_semicircle_is_the_semicircle(tmp_path: Path) -> None:
    spectrum = written(tmp_path, SpectrumSpec(blocks=[Block("model", semicircle_eigenvalues())]))
    x = np.linspace(-0.8, 0.8, 41)
    found = density(spectral_measure(spectrum, 0, 0), x, 0.1)
    # 4 probes of 2000 elements and a broadening of 0.1: a few percent.
    np.testing.assert_allclose(found, 2 / np.pi * np.sqrt(1 - x * x), rtol=0.15)


def test_the_trace_from_the_quadrature_is_the_trace(tmp_path: Path) -> None:
    values = planted_eigenvalues(count=500)
    spectrum = written(tmp_path, SpectrumSpec(blocks=[Block("model", values)], probes=40))
    trace = quadrature_trace(spectrum, "model", 0)
    assert trace.count == 40
    # Its interval is that of a Gaussian probe: variance 2 ||H||_F^2 up to O(1/n).
    expected = 2.0227 * math.sqrt(2 * np.sum(values**2) / 40)
    assert trace.half_width == pytest.approx(expected, rel=0.35)
    assert trace.low < values.sum() < trace.high


def test_the_quadrature_of_a_probe_is_exact_for_its_own_trace(tmp_path: Path) -> None:
    spectrum = written(tmp_path, SpectrumSpec(probes=1, lanczos_steps=5))
    z = np.random.default_rng([1, 0, 0]).standard_normal(2000)
    expected = 2000 * np.sum(flat_eigenvalues() * z**2) / np.sum(z**2)
    assert quadrature_trace(spectrum, 0, 0).mean == pytest.approx(expected, rel=1e-9)


def test_all_eigenvalues_are_a_measure_with_the_exact_trace(exact: Spectrum) -> None:
    measure = spectral_measure(exact, 0, 0)
    assert len(measure) == 40
    assert quadrature_trace(exact, 0, 0).mean == pytest.approx(np.trace(exact.matrix(0)))
    assert spectral_measure(exact, 0, 99).empty


# ---- cumulative distribution -------------------------------------------------------------------


def outside(band: pd.DataFrame, eigenvalues: np.ndarray) -> float:
    """Share of the rows whose step does not hold the true distribution, at both of its ends."""
    values = np.sort(eigenvalues)
    at = np.searchsorted(values, band["x"] + 1e-9, side="right") / len(values)
    next_x = np.append(band["x"].iloc[1:], values[-1])
    before = np.searchsorted(values, next_x - 1e-9, side="left") / len(values)
    low, high = band["low"] - 1e-9, band["high"] + 1e-9
    return float(np.mean((at < low) | (at > high) | (before < low) | (before > high)))


@pytest.mark.parametrize("probes", [1, 4])
@pytest.mark.parametrize(
    "eigenvalues",
    [flat_eigenvalues(), planted_eigenvalues(), network_eigenvalues(1000), flat_eigenvalues(12)],
    ids=["flat", "planted", "network", "small"],
)
def test_a_known_distribution_is_inside_its_band(
    tmp_path: Path, eigenvalues: np.ndarray, probes: int
) -> None:
    spec = SpectrumSpec(blocks=[Block("model", eigenvalues)], probes=probes)
    band = cumulative_band(written(tmp_path, spec), "model", 0)
    # 5 % are expected outside; rows are not independent.
    assert outside(band, eigenvalues) <= 0.1
    assert outside(band, eigenvalues + 0.3) > 0.2  # another spectrum is not
    assert (band["low"] <= band["mean"] + 1e-12).all()
    assert (band["mean"] <= band["high"] + 1e-12).all()
    assert band["x"].is_monotonic_increasing
    assert band["mean"].iloc[-1] == pytest.approx(1)


def test_bands_of_many_blocks_cover_95_percent(tmp_path: Path) -> None:
    blocks = [Block(f"{i}", flat_eigenvalues(20)) for i in range(100)]
    spectrum = written(tmp_path, SpectrumSpec(blocks=blocks, probes=3, lanczos_steps=20))
    bands = pd.concat([cumulative_band(spectrum, block, 0, [0.0]) for block in range(100)])
    missed = np.sum((bands["low"] > 0.5) | (bands["high"] < 0.5))
    # With a node per element the quadrature has no error, only t intervals are left: 5 misses are
    # expected, and 0 or more than 13 have a probability below 0.006.
    assert 0 < missed <= 13


def test_a_single_probe_has_the_bounds_of_gauss_quadrature(tmp_path: Path) -> None:
    block = Block("model", flat_eigenvalues(4000))
    spectrum = written(tmp_path, SpectrumSpec(blocks=[block], probes=1, lanczos_steps=10))
    band = cumulative_band(spectrum, 0, 0)
    sums = np.concatenate([[0], np.cumsum(spectrum.quadrature["weight"]), [1]])
    np.testing.assert_allclose(band["mean"], sums[1:-1])
    # The spread of a probe of 4000 elements adds up to 1.96 sqrt(2 / 4 / 4000).
    below, above = sums[:-2] - band["low"], band["high"] - sums[2:]
    assert (below >= -1e-12).all()
    assert (above >= -1e-12).all()
    assert 0.015 < max(below.max(), above.max()) < 0.022
    more = written(tmp_path, SpectrumSpec(blocks=[block], probes=1, lanczos_steps=40))
    assert (band["high"] - band["low"]).mean() > 2 * (
        cumulative_band(more, 0, 0).eval("high - low").mean()
    )


def test_a_band_can_be_asked_for_anywhere_and_is_exact_for_all_eigenvalues(
    exact: Spectrum, tmp_path: Path
) -> None:
    band = cumulative_band(exact, 0, 0, [-1e9, 0.0, 1e9])
    share = np.mean(exact_eigenvalues(exact, 0, 0) <= 0)
    for column in ("low", "mean", "high"):
        np.testing.assert_allclose(band[column], [0, share, 1])
    assert cumulative_band(exact, 0, 5).empty
    flat = written(tmp_path, SpectrumSpec())
    band = cumulative_band(flat, 0, 0, [-9.0, 0.0, 9.0])
    assert band["mean"].iloc[1] == pytest.approx(0.5, abs=0.05)
    assert (band["mean"].iloc[0], band["low"].iloc[0], band["high"].iloc[2]) == (0, 0, 1)


# ---- outliers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [20, 60, 150])
def test_planted_outliers_are_found(steps: int) -> None:
    planted = (-2.5, 3.0, 5.0, 9.0, 20.0)
    random = np.random.default_rng(3)
    nodes, weights = lanczos_quadrature(planted_eigenvalues(planted), steps, random)
    split = split_outliers(nodes, weights)
    np.testing.assert_allclose(nodes[split.outliers], planted, rtol=1e-3)
    assert -1 < split.low < -0.85
    assert 0.85 < split.high < 1
    count = min(np.sum((nodes >= split.low) & (nodes <= split.high)), 100)
    assert split.sigma == pytest.approx((split.high - split.low) / count)


@pytest.mark.parametrize("steps", [20, 60, 150])
@pytest.mark.parametrize("make", [flat_eigenvalues, semicircle_eigenvalues])
def test_a_flat_spectrum_and_a_semicircle_have_no_outliers(
    make: Callable[[], np.ndarray], steps: int
) -> None:
    nodes, weights = lanczos_quadrature(make(), steps, np.random.default_rng(3))
    assert not split_outliers(nodes, weights).outliers.any()


def test_outliers_are_nodes_beyond_three_distances_of_the_bulk() -> None:
    nodes = np.arange(10.0)
    weights = np.full(10, 0.1)
    for end, apart in ((11.6, False), (11.8, True)):  # d = (9 - 0) / 10 = 0.9, 9 + 3 d = 11.7
        split = split_outliers([*nodes, end], [*weights, 1e-4])
        assert split.outliers.tolist() == [False] * 10 + [apart]
    # Beyond the first gap, all are outliers; order and probes do not matter.
    order = [11, 3, 10, 0, 1, 2, 4, 5, 6, 7, 8, 9]
    all_nodes = np.array([*nodes, 20.0, 20.5])[order]
    split = split_outliers(all_nodes, np.array([*weights, 1e-4, 1e-4])[order])
    assert sorted(all_nodes[split.outliers]) == [20.0, 20.5]
    twice = split_outliers(np.tile(all_nodes, 2), np.full(24, 0.1), probes=2)
    assert twice.sigma == pytest.approx(20.5 / 12)


def test_a_bulk_without_width_has_still_a_sigma() -> None:
    split = split_outliers([0.0, 1e-9, 2.0, 8.0], [0.5, 0.4999, 1e-5, 1e-5])
    assert split.outliers.tolist() == [False, False, True, True]
    assert split.sigma == 8e-6
    assert split_outliers([0.0], [1.0]).sigma > 0
    with pytest.raises(ValueError, match="a weight per node"):
        split_outliers([1.0, 2.0], [1.0])


# ---- figures -----------------------------------------------------------------------------------


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    return "\n".join(found)


def floats(values: object) -> np.ndarray:
    """Matplotlib keeps what bars were made of as objects."""
    return np.asarray(values, dtype=float)


def stick_values(axes: Axes) -> list[float]:
    (sticks,) = (item for item in axes.collections if isinstance(item, LineCollection))
    return [float(segment[0, 0]) for segment in sticks.get_segments()]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Labels of an axis that cover one another."""
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [(one.get_text(), one.get_window_extent()) for one in labels if one.get_text()]
            found += [
                (a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[:i] if x.overlaps(y)
            ]
    return found


def test_a_block_has_its_density_distribution_and_ends(tmp_path: Path) -> None:
    planted = (-2.5, 3.0, 5.0, 9.0, 20.0)
    spec = SpectrumSpec(blocks=[Block("h.0", planted_eigenvalues(planted))], steps=(0, 50))
    spectrum = written(tmp_path, spec)
    figure = spectrum_figure(spectrum)
    bulk, cumulative, ends = figure.axes
    assert "Spectrum of h.0 at step 50" in bulk.get_title(loc="left")
    assert (bulk.get_xscale(), bulk.get_yscale()) == ("symlog", "log")
    np.testing.assert_allclose(stick_values(bulk), 1.5 * np.array(planted), rtol=1e-3)
    curve = bulk.get_lines()[0]
    # 4 probes of 2000 elements, 5 of them outliers.
    area = np.trapezoid(np.asarray(curve.get_ydata()), np.asarray(curve.get_xdata()))
    assert area == pytest.approx(1 - 5 / 2000, abs=0.004)

    steps = np.asarray(cumulative.get_lines()[0].get_xydata())
    band = cumulative_band(spectrum, 0, 50)
    np.testing.assert_allclose(steps[1:-1], band[["x", "mean"]])
    assert steps[0, 1] == 0
    (area_of_band,) = (item for item in cumulative.collections if isinstance(item, PolyCollection))
    assert area_of_band.get_paths()[0].vertices[:, 1].max() == 1
    assert cumulative.get_xlim() == bulk.get_xlim()

    rows = eigenvalue_ends(spectrum, 0, 50)
    assert list(rows["value"].iloc[[0, -1]]) == [30.0, -3.75]
    assert list(rows["label"].iloc[[0, 1, -1]]) == ["largest", "2nd largest", "smallest"]
    np.testing.assert_array_equal(ends.get_lines()[0].get_xdata(), rows["value"])
    assert "30 ± 2e−05" in texts(figure)
    assert not overlapping(figure)


def test_residual_bars_are_bounds_where_nothing_was_confirmed(tmp_path: Path) -> None:
    rows = [(0, 0, 0, 4.0, 0.5, np.nan), (0, 0, 1, 2.0, 0.25, 0.125), (0, 0, -1, -1.0, 0.5, 0.25)]
    spectrum = written(tmp_path, SpectrumSpec(tables=table("eigenvalues", rows)))
    assert list(eigenvalue_ends(spectrum, 0, 0)["error"]) == [0.5, 0.125, 0.25]
    ends = spectrum_figure(spectrum).axes[2]
    (box,) = ends.containers
    segments = np.array(box[2][0].get_segments())
    np.testing.assert_allclose(segments[:, 0, 0], [3.5, 1.875, -1.25])
    np.testing.assert_allclose(segments[:, 1, 0], [4.5, 2.125, -0.75])


def test_ends_that_have_not_converged_are_marked(tmp_path: Path) -> None:
    rows = [(0, 0, 0, 4.0, 0.5, 1e-6), (0, 0, -1, 2.36, 2e-14, 2e-14)]
    eigenvalues = table("eigenvalues", rows)["eigenvalues"] | {"converged": [1, 0]}
    spectrum = written(tmp_path, SpectrumSpec(tables={"eigenvalues": eigenvalues}))
    assert list(eigenvalue_ends(spectrum, 0, 0)["converged"]) == [True, False]
    words = texts(spectrum_figure(spectrum))
    assert "4 ± 1e−06" in words
    assert "≤ 2.36, not converged" in words


def test_files_of_older_programs_have_the_later_columns_too(tmp_path: Path) -> None:
    old = written(tmp_path, SpectrumSpec())
    assert set(old.eigenvalues["converged"]) == {-1}
    assert old.quadrature["residual"].isna().all()
    assert {"low", "high", "quadrature_error"} <= set(old.functions.columns)


def test_a_flat_spectrum_has_a_linear_axis_and_no_stick(tmp_path: Path) -> None:
    bulk = spectrum_figure(written(tmp_path, SpectrumSpec())).axes[0]
    assert bulk.get_xscale() == "linear"
    assert not any(isinstance(item, LineCollection) for item in bulk.collections)


def test_all_eigenvalues_are_drawn_exactly(exact: Spectrum) -> None:
    _, cumulative, ends = spectrum_figure(exact).axes
    (line,) = cumulative.get_lines()
    values = exact_eigenvalues(exact, 0, 0)
    np.testing.assert_array_equal(np.asarray(line.get_xdata())[1:-1], values)
    assert line.get_label() == "all eigenvalues"
    drawn = floats(ends.get_lines()[0].get_xdata())
    np.testing.assert_allclose(drawn, [*values[::-1][:8], *values[:8][::-1]])


def test_a_zero_block_and_one_without_measurements_are_drawn(tmp_path: Path) -> None:
    zero = written(tmp_path, SpectrumSpec(blocks=[Block("zero", np.zeros(20))]))
    save_figure(spectrum_figure(zero), tmp_path / "zero.png")
    nothing = written(tmp_path, SpectrumSpec(probes=0, eigenpairs=0))
    found = texts(spectrum_figure(nothing))
    assert "neither a quadrature nor eigenvalues measured" in found


def test_outliers_of_several_probes_are_one_stick(tmp_path: Path) -> None:
    spec = SpectrumSpec(blocks=[Block("m", planted_eigenvalues((9.0,)))], probes=5)
    spectrum = written(tmp_path, spec)
    picture = density_picture(spectral_measure(spectrum, 0, 0))
    assert list(picture.sticks["value"]) == [pytest.approx(9.0)]
    assert picture.axis.high > 9
    weights = spectrum.quadrature.query("node > 8")["weight"]
    assert len(weights) == 5
    expected = weights.mean() / (picture.sigma * math.sqrt(2 * math.pi))
    assert picture.sticks["height"].iloc[0] == pytest.approx(expected)


def test_an_axis_is_linear_around_the_bulk_and_has_powers_of_ten() -> None:
    axes = Figure().subplots()
    axis = EigenvalueAxis.around(-3.0, 2000.0, (-0.02, 0.9))
    axis.apply(axes)
    assert axes.get_xlim() == (axis.low, axis.high)
    assert axis.low < -3 < 2000 < axis.high < 6000
    assert list(axes.get_xticks()) == [-1, 0, 1, 10, 100, 1000]
    # The margins are equal on paper.
    where = axes.transAxes.inverted().transform(axes.transData.transform([(-3, 0), (2000, 0)]))
    assert where[0, 0] == pytest.approx(1 - where[1, 0], abs=1e-6)
    assert where[0, 0] == pytest.approx(0.05 / 1.1, abs=1e-6)
    assert EigenvalueAxis.around(-1.0, 2.0, (-1.0, 1.0)).linear == 0


def test_every_block_has_a_panel_with_its_own_range(gpt2: Spectrum) -> None:
    figure = block_spectra_figure(gpt2, 0)
    titled = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in titled] == GPT2
    for block, axes in enumerate(titled):
        nodes = gpt2.rows("quadrature", 0, block)["node"]
        low, high = axes.get_xlim()
        assert low < nodes.min() < nodes.max() < high
        assert len(axes.get_lines()[0].get_xydata()) > 100
        assert f"max {nodes.max():#.3g}".rstrip(".") in [text.get_text() for text in axes.texts]
    assert not overlapping(figure)
    assert "Spectra of 16 blocks at step 0" in texts(figure)


def test_of_very_many_blocks_the_first_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockwise.figures.spectrum._MOST_BLOCKS", 4)
    rows = [Block(f"row {i}", np.array([1.0, 2.0, 3.0 + i])) for i in range(7)]
    spectrum = written(tmp_path, SpectrumSpec(blocks=rows, probes=1))
    assert "Spectra of 4 of 7 blocks" in texts(block_spectra_figure(spectrum))
    two = block_spectra_figure(spectrum, blocks=["row 6", 3])
    assert [axes.get_title(loc="left") for axes in two.axes] == ["row 6", "row 3"]


def test_the_course_has_extreme_eigenvalues_and_traces(gpt2: Spectrum, tmp_path: Path) -> None:
    course = spectrum_course(gpt2).set_index(["step", "block"])
    for block in (0, 13, 15):
        values = gpt2.rows("eigenvalues", 100, block).set_index("index")["value"]
        row = course.loc[(100, block)]
        assert (row["largest"], row["smallest"]) == (values[0], values[-1])
        assert row["trace"] == gpt2.rows("summary", 100, block)["trace"].iloc[0]
    figure = spectrum_course_figure(gpt2)
    largest, smallest, trace = figure.axes
    assert len(largest.containers) == len(trace.containers) == 16
    drawn = floats(largest.containers[13][0].get_xydata())
    np.testing.assert_allclose(drawn, [(s, course.loc[(s, 13), "largest"]) for s in (0, 100)])
    np.testing.assert_allclose(
        floats(smallest.containers[15][0].get_ydata()), course.xs(15, level="block")["smallest"]
    )
    bars = np.array(trace.containers[0][2][0].get_segments())
    np.testing.assert_allclose(
        bars[:, 1, 1] - bars[:, 0, 1], 5 * course.xs(0, level="block")["trace_error"]
    )
    figure.draw_without_rendering()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == GPT2
    assert figure.legends[0].get_window_extent().x0 > trace.get_window_extent().x1


def test_a_course_without_eigenvalues_takes_the_quadrature(tmp_path: Path) -> None:
    summary = [(0, 0, *[np.nan] * 5, 0, *[np.nan] * 2, 0, *[np.nan] * 7)]
    spec = SpectrumSpec(eigenpairs=0, tables=table("summary", summary))
    spectrum = written(tmp_path, spec)
    (row,) = spectrum_course(spectrum).to_dict("records")
    assert row["largest"] == spectrum.quadrature["node"].max()
    assert row["smallest"] == spectrum.quadrature["node"].min()
    assert row["trace"] == pytest.approx(quadrature_trace(spectrum, 0, 0).mean)
    assert math.isnan(row["trace_error"])


def image_of(figure: Figure) -> AxesImage:
    (image,) = figure.axes[0].get_images()
    return image


def test_couplings_are_normalised_by_the_diagonal_blocks(tmp_path: Path) -> None:
    rows = [(0, 0, 0, 16.0, 0), (0, 1, 1, 81.0, 0), (0, 1, 0, 9.0, 0), (0, 0, 2, 4.0, 0),
            (0, 1, 2, 0.0, 0)]  # fmt: skip
    blocks = [Block(name, np.array(values)) for name, values in
              (("a", [4.0]), ("b", [9.0]), ("c", [1.0, 0.0]))]  # fmt: skip
    spectrum = written(tmp_path, SpectrumSpec(blocks=blocks, tables=table("couplings", rows)))
    # ||H_00|| = 4, ||H_11|| = 9, and ||H_22|| = 1 from the summary.
    expected = [[1, 3 / 6, 2 / 2], [3 / 6, 1, 0], [1, 0, 1]]
    np.testing.assert_allclose(coupling_matrix(spectrum, 0), expected)
    figure = coupling_figure(spectrum)
    image = image_of(figure)
    assert isinstance(image.norm, LogNorm)
    drawn = np.ma.getdata(image.get_array())[~np.ma.getmaskarray(image.get_array())]
    assert sorted(drawn) == pytest.approx([0.5, 0.5, 1, 1, 1, 1, 1])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "b", "c"]
    assert "grey: not measured, or zero" in texts(figure)


def test_heat_maps_name_every_block_without_overlap(gpt2: Spectrum) -> None:
    for figure in (coupling_figure(gpt2, 0), distance_figure(gpt2, 0)):
        axes = figure.axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == GPT2
        assert not overlapping(figure)


def test_distances_are_those_that_the_program_recorded(tmp_path: Path) -> None:
    blocks = [Block("a", flat_eigenvalues(40)), Block("b", 5 + flat_eigenvalues(40))]
    recorded = table("distances", [(0, 0, 1, 0.25, 0.01)])
    image = image_of(
        distance_figure(written(tmp_path, SpectrumSpec(blocks=blocks, tables=recorded)))
    )
    np.testing.assert_allclose(np.ma.getdata(image.get_array()), [[0, 0.25], [0.25, 0]])
    spectrum = written(tmp_path, SpectrumSpec(blocks=blocks))  # with quadratures, without distances
    assert np.isnan(distance_matrix(spectrum, 0)).all()
    assert "no distances measured (distances: true)" in texts(distance_figure(spectrum))


def test_what_was_not_measured_is_said(exact: Spectrum) -> None:
    assert "no couplings measured" in texts(coupling_figure(exact))
    assert "no partitions measured" in texts(energy_figure(exact))


def test_an_exact_matrix_is_drawn_with_its_parameters(exact: Spectrum) -> None:
    figure = matrix_figure(exact)
    axes = figure.axes[0]
    image = image_of(figure)
    drawn = np.asarray(image.get_array())
    matrix = np.abs(exact.matrix(0))
    assert drawn.shape == (40, 40)
    assert isinstance(image.norm, LogNorm)
    assert image.norm.vmax == matrix.max()
    large = matrix > image.norm.vmin
    np.testing.assert_array_equal(drawn[large], matrix[large])
    assert np.mean(large) > 0.95
    ends = [(floats(line.get_xdata())[0], floats(line.get_ydata())[0]) for line in axes.get_lines()]
    assert ends == [(0, 30), (30, 0), (0, 34), (34, 0)]
    names = [name for name, *_ in PARAMETERS]
    written_names = [text for text in axes.texts if text.get_text() in names]
    assert [text.get_text() for text in written_names] == list(np.repeat(names, 2))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in written_names]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_large_matrices_are_pooled_by_their_largest_entry() -> None:
    matrix = np.zeros((2500, 2500))
    matrix[7, 2000] = 3.0
    cells, side = max_pooled(matrix)
    assert (side, cells.shape) == (3, (834, 834))
    assert cells[2, 666] == 3.0
    assert np.count_nonzero(cells) == 1
    small, side = max_pooled(matrix[:1000, :1000])
    assert (side, small.shape) == (1, (1000, 1000))


def test_a_block_has_the_parameters_of_its_layer_role_or_name(tmp_path: Path) -> None:
    blocks = [
        Block("model", np.ones(40)), Block("layer 0", np.ones(34), "", 0),
        Block("mlp_in", np.ones(36), "mlp_in"), Block("a.bias", np.ones(4), "bias", 0),
        Block("a.weight[0]", np.ones(10), "mlp_in", 0),
    ]  # fmt: skip
    spectrum = written(tmp_path, SpectrumSpec(blocks=blocks, parameters=PARAMETERS))
    assert [list(block_parameters(spectrum, i)["name"]) for i in range(5)] == [
        ["a.weight", "a.bias", "b.weight"], ["a.weight", "a.bias"], ["a.weight", "b.weight"],
        ["a.bias"], ["a.weight[0]"],
    ]  # fmt: skip


def test_names_are_moved_apart_as_little_as_possible() -> None:
    np.testing.assert_allclose(spread(np.array([0.1, 0.5, 0.9]), 0.1), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(spread(np.array([0.5, 0.5, 0.9]), 0.1), [0.45, 0.55, 0.9])
    np.testing.assert_allclose(spread(np.array([0.99, 1.0]), 0.1), [0.9, 1.0])
    np.testing.assert_allclose(spread(np.full(5, 0.3), 0.5), [0, 0.25, 0.5, 0.75, 1])


def test_lifts_are_dots_with_bars_in_rows_of_tensors(gpt2: Spectrum) -> None:
    figure = energy_figure(gpt2, 100)
    axes = figure.axes[0]
    rows = gpt2.rows("energies", 100)
    assert [box.get_label() for box in axes.containers] == list(RULES)
    for rule, box in zip(RULES, axes.containers, strict=True):
        chosen = rows[rows["rule_name"] == rule]
        np.testing.assert_allclose(floats(box[0].get_xdata()), chosen["lift"])
        assert list(np.round(floats(box[0].get_ydata()))) == list(chosen["tensor"])
        segments = np.array(box[2][0].get_segments())
        half = (segments[:, 1, 0] - segments[:, 0, 0]) / 2
        np.testing.assert_allclose(half, 0.06 / 0.9)
    assert len({box[0].get_ydata()[0] for box in axes.containers}) == 3
    assert not overlapping(figure)


def test_an_unfinished_measurement_says_so(tmp_path: Path) -> None:
    spec = SpectrumSpec(status="interrupted", message="stopped by a signal")
    figure = spectrum_figure(written(tmp_path, spec))
    assert "interrupted: stopped by a signal" in figure.get_supxlabel()
    assert "interrupted" in block_spectra_figure(written(tmp_path, spec)).get_supxlabel()


# ---- command line ------------------------------------------------------------------------------


def test_every_figure_is_a_picture_of_some_size(
    gpt2: Spectrum, exact: Spectrum, tmp_path: Path
) -> None:
    for name, figure in (
        ("spectrum", spectrum_figure(exact)), ("energy", energy_figure(gpt2)),
        ("course", spectrum_course_figure(gpt2)), ("matrix", matrix_figure(exact)),
    ):  # fmt: skip
        save_figure(figure, tmp_path / f"{name}.png")
        content = (tmp_path / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG"), name
        assert len(content) > 20_000, name


def test_the_program_draws_one_block_or_all(tmp_path: Path) -> None:
    blocks = [Block("h.0", flat_eigenvalues(50)), Block("h.1", flat_eigenvalues(20))]
    for count in (1, 2):
        spec = SpectrumSpec(blocks=blocks[:count])
        write_spectrum(tmp_path / str(count) / "spectrum.h5", spec)
        output = tmp_path / f"{count}.svg"
        assert main([str(tmp_path / str(count)), "--output", str(output)]) == 0
    assert "Cumulative distribution" in (tmp_path / "1.svg").read_text()
    assert "Spectra of 2 blocks" in (tmp_path / "2.svg").read_text()
    file = tmp_path / "2" / "spectrum.h5"
    assert main([str(file), "--output", str(tmp_path / "file.svg")]) == 0
    assert "Spectra of 2 blocks" in (tmp_path / "file.svg").read_text()


def test_a_run_with_measurements_is_still_drawn_as_a_run(tmp_path: Path) -> None:
    run_with_hessian(tmp_path / "run.h5", SpectrumSpec())
    assert main([str(tmp_path), "--output", str(tmp_path / "run.svg")]) == 0
    assert "Gradient norm" in (tmp_path / "run.svg").read_text()
    assert len(run_figure(read_run(tmp_path)).axes) == 3


def test_bad_spectra_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_spectrum(tmp_path / "spectrum.h5", SpectrumSpec(steps=()))
    output = tmp_path / "figure.png"
    assert main([str(tmp_path), "--output", str(output)]) == 2
    assert "no measurement has been recorded yet" in capsys.readouterr().err
    assert main([str(tmp_path), "--partition", "--output", str(output)]) == 2
    assert "--partition draws a run" in capsys.readouterr().err
    path.write_bytes(b"")
    assert main([str(tmp_path), "--output", str(output)]) == 2
    assert "spectrum.h5: is empty" in capsys.readouterr().err
    assert not output.exists()


# ---- files of older programs -------------------------------------------------------------------


def test_a_file_without_the_later_tables_is_read_and_says_what_it_lacks(exact: Spectrum) -> None:
    # What make_spectra writes is what the program wrote before it told pieces, shapes and examples.
    assert exact.pieces.empty and exact.examples.empty and exact.points.empty
    assert list(exact.parameters["shape"]) == [None] * 3
    with pytest.raises(RunFileError, match="an older program wrote this file"):
        exact.tensors(0, np.zeros(40))
    with pytest.raises(RunFileError, match="no eigenvectors of this block"):
        exact.eigenvectors(0)
    with pytest.raises(RunFileError, match="the file holds no tokens"):
        exact.windows()
    with pytest.raises(ValueError, match="the block has 40"):
        exact.tensors(0, np.zeros(3))
    with pytest.raises(ValueError, match="is not known to have several heads"):
        matrix_figure(exact, heads=True)
