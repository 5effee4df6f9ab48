"""How far the spectra of two blocks are apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..files.spectra import Spectrum
from .spectral_density import spectral_measure

_LINEAR = 1e-3  # of the largest |eigenvalue|: where the grid goes from linear to logarithmic
_BROADENING = 0.1
_MARGIN = 5.0  # broadenings of grid beyond the outermost nodes


def jensen_shannon(
    p_nodes: ArrayLike,
    p_weights: ArrayLike,
    q_nodes: ArrayLike,
    q_weights: ArrayLike,
    points: int = 512,
) -> float:
    """Jensen-Shannon divergence of two spectra in nats: 0 for equal, ln 2 for disjoint ones.

        JS(p, q) = KL(p, (p + q) / 2) / 2 + KL(q, (p + q) / 2) / 2

    The eigenvalues are taken as they are, not divided by each block's largest: a block whose
    curvature is ten times another's is far from it. Both spectra are densities on one grid of
    `points` equal distances in u = asinh(lambda / s), s = 1/1000 of the largest |eigenvalue| of
    the two: linear within s, logarithmic outside, so that the bulk near zero and the outliers both
    count. Every node is a Gaussian of standard deviation 0.1 in u (10 % of a large eigenvalue), or
    of the grid's distance where that is more. Weights need not be normalised.
    """
    if points < 2:
        raise ValueError(f"{points} points, at least 2 are needed")
    p, q = (np.asarray(nodes, dtype=float) for nodes in (p_nodes, q_nodes))
    if not len(p) or not len(q):
        raise ValueError("a spectrum without a node")
    scale = _LINEAR * max(np.abs(p).max(), np.abs(q).max())
    if scale == 0:
        return 0.0
    p, q = np.arcsinh(p / scale), np.arcsinh(q / scale)
    margin = _MARGIN * _BROADENING
    low, high = min(p.min(), q.min()) - margin, max(p.max(), q.max()) + margin
    grid = np.linspace(low, high, points)
    a, b = (_masses(grid, *one) for one in ((p, p_weights), (q, q_weights)))
    middle = (a + b) / 2
    return max((_divergence(a, middle) + _divergence(b, middle)) / 2, 0.0)


def _masses(grid: np.ndarray, nodes: np.ndarray, weights: ArrayLike) -> np.ndarray:
    """Shares of the broadened nodes at the points of the grid."""
    width = max(_BROADENING, grid[1] - grid[0])
    peaks = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2)
    masses = peaks @ np.asarray(weights, dtype=float)
    return np.asarray(masses / masses.sum())


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback and Leibler's sum p ln(p / q); 0 ln 0 is 0."""
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))


def spectral_distances(spectrum: Spectrum, step: int) -> pd.DataFrame:
    """`jensen_shannon` (nats) of every two blocks that have a quadrature, in columns like those of
    `Spectrum.distances`: row_block, column_block, jensen_shannon. Cost: a grid per pair.
    """
    measures = {
        block: measure
        for block in range(len(spectrum.blocks))
        if not (measure := spectral_measure(spectrum, block, step)).empty
    }
    rows = [
        (i, j, jensen_shannon(p["node"], p["weight"], q["node"], q["weight"]))
        for i, p in measures.items()
        for j, q in measures.items()
        if i < j
    ]
    return pd.DataFrame(rows, columns=["row_block", "column_block", "jensen_shannon"])
