"""What the nodes of stochastic Lanczos quadrature say about a block's eigenvalues.

A probe z gives the m-point Gauss quadrature (nodes theta_k, weights omega_k, sum 1) of the measure
mu_z = sum_i (u_i^T z)^2 / |z|^2 delta(lambda_i), whose mean over z has 1/n at each of the block's n
eigenvalues (Ghorbani, Krishnan and Xiao, arXiv 1901.10159; Ubaru, Chen and Saad 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..files.spectra import Spectrum
from ..statistics.intervals import MeanInterval, mean_interval
from ..statistics.student_t import t_quantile

_NORMAL_975 = NormalDist().inv_cdf(0.975)
_TAIL = 0.01  # of the weight, on each side of the bulk
_GAP = 3.0  # mean distances of nodes in the bulk
_FINEST = 100  # nodes in the bulk; more would be seen as noise
_MOST_PAIRS = 4_000_000  # of points and nodes at once: 32 MB
_ROUNDING = 1e-6  # of the largest |node|: nodes nearer than this are not told apart


def spectral_measure(spectrum: Spectrum, block: str | int, step: int) -> pd.DataFrame:
    """probe; node; weight of one block and step: the quadrature.

    Without one, the eigenvalues with weights 1 / elements as a single probe, where all are known.
    Empty where neither was measured.
    """
    nodes = spectrum.rows("quadrature", step, block)[["probe", "node", "weight"]]
    if nodes.empty:
        values = exact_eigenvalues(spectrum, block, step)
        nodes = pd.DataFrame({"probe": 0, "node": values, "weight": 1 / max(len(values), 1)})
    return nodes.reset_index(drop=True)


def exact_eigenvalues(spectrum: Spectrum, block: str | int, step: int) -> np.ndarray:
    """All eigenvalues of a block, ascending; empty where not all of them were measured."""
    rows = spectrum.rows("eigenvalues", step, block)
    elements = spectrum.blocks["elements"].iloc[spectrum.block_id(block)]
    complete = len(rows) == elements and rows["index"].nunique() == elements
    return np.sort(rows["value"].to_numpy(dtype=float)) if complete else np.empty(0)


def density(quadrature: pd.DataFrame, grid: ArrayLike, sigma: float) -> np.ndarray:
    """Broadened spectral density at the points `grid` (eigenvalues), per unit of eigenvalue:

        phi(x) = 1/P sum_p sum_k omega_pk exp(-(x - theta_pk)^2 / (2 sigma^2)) / (sigma sqrt(2 pi))

    quadrature: probe, node and weight of one block and step, P probes. Its integral is the weight
    of a probe: 1, or less where nodes have been given the weight 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}, not above 0")
    nodes = quadrature["node"].to_numpy(dtype=float)
    weights = quadrature["weight"].to_numpy(dtype=float)
    nodes, weights = nodes[weights > 0], weights[weights > 0]
    points = np.asarray(grid, dtype=float)
    parts = np.array_split(points.ravel(), 1 + points.size * len(nodes) // _MOST_PAIRS)
    sums = [np.exp(-0.5 * ((part[:, None] - nodes) / sigma) ** 2) @ weights for part in parts]
    total = np.concatenate(sums).reshape(points.shape)
    probes = max(quadrature["probe"].nunique(), 1)
    return np.asarray(total / (probes * sigma * math.sqrt(2 * math.pi)))


def quadrature_trace(spectrum: Spectrum, block: str | int, step: int) -> MeanInterval:
    """n sum_k omega_k theta_k, which is n z^T H z / |z|^2: mean over probes, 95 % t interval.

    n: the block's elements. NaN without a quadrature.
    """
    measure = spectral_measure(spectrum, block, step)
    products = (measure["node"] * measure["weight"]).groupby(measure["probe"]).sum()
    elements = int(spectrum.blocks["elements"].iloc[spectrum.block_id(block)])
    return mean_interval((elements * products).tolist())


# ---- cumulative distribution -------------------------------------------------------------------


def cumulative_band(
    spectrum: Spectrum, block: str | int, step: int, at: ArrayLike | None = None
) -> pd.DataFrame:
    """Share of a block's eigenvalues at or below x, with a pointwise 95 % band.

    x (all nodes, ascending, or `at`); mean, low, high (shares). All are steps: a row holds from its
    x to the next node.

    mean: of the probes' F_p(x) = sum_{theta_pk <= x} omega_pk. The band covers two errors.
    1. The quadrature's, which is a bound and known in advance (Chebyshev, Markov and Stieltjes):
       between theta_j and theta_{j+1}, a probe's measure has at least L_p = omega_1 + ... +
       omega_{j-1} and at most H_p = omega_1 + ... + omega_{j+1} at or below x. It does not shrink
       with more probes, only with more Lanczos steps; with a node per element L_p = F_p = H_p. It
       holds for Lanczos vectors that were kept orthogonal.
    2. That of few probes. From two on, t intervals over probes: low = mean L_p - t s(L_p) / sqrt(P)
       and high = mean H_p + t s(H_p) / sqrt(P), t = t_{0.975, P-1}. A single probe says nothing
       about its own spread; there the share p of a Gaussian direction in an invariant subspace has
       the variance 2 p (1 - p) / (n + 2), as if (n + 2) / 2 eigenvalues had been drawn, and low and
       high are the ends of Wilson's intervals around L_1 and H_1.
    Where all eigenvalues are known and there is no quadrature, low = mean = high is exact.
    """
    measure = spectral_measure(spectrum, block, step)
    x = np.unique(measure["node"] if at is None else np.asarray(at, dtype=float))
    if measure.empty:
        return pd.DataFrame(columns=["x", "mean", "low", "high"], dtype=float)
    if spectrum.rows("quadrature", step, block).empty:
        share = np.searchsorted(measure["node"], x, side="right") / len(measure)
        return pd.DataFrame({"x": x, "mean": share, "low": share, "high": share})
    elements = int(spectrum.blocks["elements"].iloc[spectrum.block_id(block)])
    shares = np.array([_shares(probe, x, elements) for _, probe in measure.groupby("probe")])
    least, mean, most = shares.mean(axis=0)
    if len(shares) == 1:
        draws = (elements + 2) / 2
        low, high = _wilson(least, draws)[0], _wilson(most, draws)[1]
    else:
        half = t_quantile(len(shares) - 1) * shares.std(axis=0, ddof=1) / math.sqrt(len(shares))
        low, high = least - half[0], most + half[2]
    clipped = {name: values.clip(0, 1) for name, values in
               (("mean", mean), ("low", low), ("high", high))}  # fmt: skip
    return pd.DataFrame({"x": x} | clipped)


def _shares(
    probe: pd.DataFrame, x: np.ndarray, elements: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L, F and H of one probe from every x to the next node."""
    ordered = probe.sort_values("node")
    sums = np.concatenate([[0.0], ordered["weight"].cumsum()])
    below = np.searchsorted(ordered["node"], x, side="right")
    away = 0 if len(ordered) >= elements else 1
    return (
        sums[np.maximum(below - away, 0)],
        sums[below],
        sums[np.minimum(below + away, len(ordered))],
    )


def _wilson(share: np.ndarray, draws: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of Wilson's 95 % interval for a share that was found in so many draws."""
    square = _NORMAL_975**2 / draws
    centre = (share + square / 2) / (1 + square)
    spread = np.sqrt(np.maximum(share * (1 - share), 0) * square + square**2 / 4) / (1 + square)
    return centre - spread, centre + spread


# ---- bulk and outliers -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Bulk:
    """The bulk of a spectrum and the nodes that lie apart.

    outliers: a truth value per node. low, high: the ends of the central 98 % of the weight. sigma:
    how far to broaden the bulk's nodes. All but `outliers` in units of the eigenvalues.
    """

    outliers: np.ndarray
    low: float
    high: float
    sigma: float


def split_outliers(nodes: ArrayLike, weights: ArrayLike, probes: int = 1) -> Bulk:
    """Which Ritz values are separated from the bulk, and sigma for the rest.

    The bulk's core is the central 98 % of the weight, [low, high], and a mean distance of its nodes
    is d = (high - low) / m, m = nodes of a probe in the core, at most 100. Going outwards from the
    core, nodes belong to the bulk until the first gap of more than 3 d; all beyond are outliers.
    (Distance from the core alone would take the tails of a semicircle for outliers as soon as m is
    large.) sigma is d. Both are at least a millionth of the largest |node|: a core of one node,
    such as the zeros of a matrix of low rank, has no width.

    nodes, weights: one per node, in any order, of `probes` probes together.
    """
    node, weight = np.asarray(nodes, dtype=float), np.asarray(weights, dtype=float)
    if node.ndim != 1 or node.shape != weight.shape or not len(node):
        raise ValueError(f"{node.shape} nodes and {weight.shape} weights, a weight per node needed")
    order = np.argsort(node, kind="stable")
    x, sums = node[order], np.cumsum(weight[order])
    first = int(np.argmax(sums > _TAIL * sums[-1]))
    last = int(np.flatnonzero(sums - weight[order] < (1 - _TAIL) * sums[-1])[-1])
    count = min(max((last - first + 1) / probes, 1.0), _FINEST)
    floor = _ROUNDING * (float(np.abs(x).max()) or 1.0)
    gap = max(_GAP * (x[last] - x[first]) / count, floor)
    outside = np.ones(len(x), dtype=bool)
    outside[_first_gap_down(x, first, gap) : _first_gap_up(x, last, gap)] = False
    outliers = np.empty(len(x), dtype=bool)
    outliers[order] = outside
    sigma = max(float(x[last] - x[first]) / count, floor)
    return Bulk(outliers, float(x[first]), float(x[last]), sigma)


def _first_gap_up(x: np.ndarray, last: int, gap: float) -> int:
    """The number of the first node above `last` that has a gap below it, or of nodes."""
    gaps = np.flatnonzero(np.diff(x[last:]) > gap)
    return last + 1 + int(gaps[0]) if len(gaps) else len(x)


def _first_gap_down(x: np.ndarray, first: int, gap: float) -> int:
    """The number of the last node down from `first` that has a gap below it, or 0."""
    gaps = np.flatnonzero(np.diff(x[: first + 1]) > gap)
    return int(gaps[-1]) + 1 if len(gaps) else 0
