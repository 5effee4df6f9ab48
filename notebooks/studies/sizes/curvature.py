"""Curvature of large models, one or several measurements beside each other, as Markdown.

    .venv/bin/python -m studies.sizes.curvature runs/ladder-curvature/start runs/ladder-curvature/trained

A row per measurement and part: both ends of the spectrum with their errors, the trace and the Frobenius
norm with 95 % intervals, and what it took. An end that has not converged is a bound, <= or >=, with how near an
eigenvalue lies in brackets.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

import pandas as pd

from blockwise.files.hdf5_file import RunFileError
from blockwise.files.spectra import Spectrum, read_spectrum

from .ladder import markdown

HEADS = ["", "part", "parameters", "smallest", "largest", "trace [95 %]", "Frobenius norm [95 %]",
         "products", "seconds a product", "tensors at the peak, GB"]  # fmt: skip


def curvature_rows(spectra: Sequence[Spectrum]) -> list[list[str]]:
    """Rows of cells, the first one the heads; of each spectrum its last step."""
    rows = [HEADS]
    for spectrum in spectra:
        summary = spectrum.summary[spectrum.summary["step"] == spectrum.measured_step()]
        elements = spectrum.blocks.set_index("name")["elements"]
        for _, part in summary.iterrows():
            rows.append(_row(spectrum, part, int(elements[part["block_name"]])))
    return rows


def _row(spectrum: Spectrum, part: pd.Series, elements: int) -> list[str]:
    ends = [_end(spectrum, part, place) for place in (-1, 0)]
    trace = _interval(part, "trace", lambda value: value)
    norm = _interval(part, "squared_frobenius", lambda square: math.sqrt(max(0.0, square)))
    products = int(part["products"])
    each = f"{part['seconds'] / products:.2g}" if products > 0 else "-"
    peak = f"{part['peak_bytes'] / 1e9:.2f}"
    name = spectrum.path.parent.name if spectrum.path.is_file() else spectrum.path.name
    return [name, part["block_name"], f"{elements:,}", *ends, trace, norm, f"{products}", each, peak]


def _end(spectrum: Spectrum, part: pd.Series, place: int) -> str:
    """The eigenvalue at a place; its residual, or only what bounds that, says how near one lies."""
    pairs = spectrum.eigenvalues
    found = pairs[(pairs["step"] == part["step"]) & (pairs["block"] == part["block"]) & (pairs["index"] == place)]
    if found.empty:
        return "-"
    pair = found.iloc[0]
    residual = pair["residual_bound"] if math.isnan(pair["residual"]) else pair["residual"]
    if pair["converged"] == 0:
        return f"{'<=' if place < 0 else '>='} {pair['value']:.4g} (± {residual:.1g})"
    return f"{pair['value']:.4g} ± {residual:.1g}"


def _interval(part: pd.Series, name: str, of) -> str:
    value, low, high = (part[name + suffix] for suffix in ("", "_low", "_high"))
    if math.isnan(value):
        return "-"
    if math.isnan(low):
        return f"{of(value):.4g}"
    return f"{of(value):.4g} [{of(low):.4g}, {of(high):.4g}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status: 1 where a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m studies.sizes.curvature", description=__doc__.split("\n\n")[0])
    parser.add_argument("spectra", nargs="+", help="folders of measurements, or their spectrum.h5")
    options = parser.parse_args(arguments)
    try:
        print(markdown(curvature_rows([read_spectrum(path) for path in options.spectra])))
    except RunFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
