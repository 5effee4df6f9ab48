"""Student's t distribution, exactly, for whole degrees of freedom."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

_MOST_STEPS = 100
_LAST_STEP = 1e-8  # relative; Newton's error behind it is of the square of that


@cache
def t_quantile(degrees_of_freedom: int, confidence: float = 0.95) -> float:
    """t with P(|T| <= t) = confidence for Student's T: the two-sided quantile, to rounding.

    `central_probability` is inverted by Newton's method. On t > 0 it is concave, so that from t = 0
    every step falls short of the quantile and the next one goes on towards it. Costs a
    sum of degrees_of_freedom / 2 terms per step; results are kept.
    """
    if degrees_of_freedom < 1:
        raise ValueError(f"degrees_of_freedom is {degrees_of_freedom}, at least 1 is needed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, not between 0 and 1")
    t = 0.0
    for _ in range(_MOST_STEPS):
        missing = confidence - central_probability(t, degrees_of_freedom)
        step = missing / (2 * density(t, degrees_of_freedom))
        t += step
        if abs(step) <= _LAST_STEP * t:
            break
    return t


def density(t: float, degrees_of_freedom: int) -> float:
    """Gamma((n + 1) / 2) / (sqrt(n pi) Gamma(n / 2)) (1 + t^2 / n)^(-(n + 1) / 2)."""
    n = degrees_of_freedom
    scale = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
    return math.exp(scale - (n + 1) / 2 * math.log1p(t * t / n))


def central_probability(t: float, degrees_of_freedom: int) -> float:
    """P(|T| <= t), a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4), theta = atan(t / sqrt n):

        n odd    2 / pi (theta + sin cos (1 + 2/3 cos^2 + (2 4)/(3 5) cos^4 + ... cos^(n - 3)))
        n even   sin (1 + 1/2 cos^2 + (1 3)/(2 4) cos^4 + ... cos^(n - 2))
    """
    n = degrees_of_freedom
    theta = math.atan2(t, math.sqrt(n))
    sine, square = math.sin(theta), math.cos(theta) ** 2
    odd = n % 2
    k = np.arange(2 + odd, n, 2)
    terms = np.cumprod(square * (k - 1) / k)
    series = sine * ((n > 1) + float(terms.sum()))
    return 2 / math.pi * (theta + series * math.cos(theta)) if odd else series
