from __future__ import annotations

import math
import statistics

import pytest

from blockwise.statistics.intervals import mean_interval
from blockwise.statistics.student_t import t_quantile


def t_density(t: float, n: int) -> float:
    log = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
    return math.exp(log - (n + 1) / 2 * math.log1p(t * t / n))


# Two-sided quantiles to ten decimals, as printed in tables and by statistics programs.
TABULATED = {
    (1, 0.95): 12.7062047362, (2, 0.95): 4.3026527297, (3, 0.95): 3.1824463053,
    (10, 0.95): 2.2281388520, (30, 0.95): 2.0422724563, (31, 0.95): 2.0395134464,
    (60, 0.95): 2.0002978220, (120, 0.95): 1.9799304051, (1000, 0.95): 1.9623390808,
    (5, 0.99): 4.0321429836, (1, 0.5): 1.0, (2, 0.5): 0.8164965809,
}  # fmt: skip


@pytest.mark.parametrize(("place", "value"), TABULATED.items(), ids=str)
def test_quantiles_are_those_of_the_tables(place: tuple[int, float], value: float) -> None:
    assert t_quantile(*place) == pytest.approx(value, abs=5.1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30, 31, 60, 200])
def test_a_quantile_leaves_a_fortieth_above_it(n: int) -> None:
    # Simpson's rule from 0 to the quantile, where the distribution function is 0.5.
    end, pieces = t_quantile(n), 2000
    values = [t_density(end * i / pieces, n) for i in range(pieces + 1)]
    weights = [1, *([4, 2] * (pieces // 2))[:-1], 1]
    area = end / pieces / 3 * sum(w * v for w, v in zip(weights, values, strict=True))
    assert 0.5 + area == pytest.approx(0.975, abs=1e-9)  # Simpson's error, (end / pieces)^4


def test_far_beyond_the_table_it_is_the_normal_quantile() -> None:
    normal = statistics.NormalDist().inv_cdf(0.975)
    # The first term beyond it is (z^3 + z) / 4 n.
    assert t_quantile(10**6) == pytest.approx(normal + (normal**3 + normal) / 4e6, abs=1e-10)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5])
def test_a_confidence_that_is_none_is_an_error(confidence: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        t_quantile(3, confidence)


def test_no_degrees_of_freedom_is_an_error() -> None:
    with pytest.raises(ValueError, match="0, at least 1"):
        t_quantile(0)


def test_mean_and_interval_of_three_values() -> None:
    interval = mean_interval([1.0, 2.0, 4.0])
    expected = t_quantile(2) * statistics.stdev([1.0, 2.0, 4.0]) / math.sqrt(3)
    assert interval.count == 3
    assert interval.mean == pytest.approx(7 / 3)
    assert interval.high - interval.mean == pytest.approx(expected)
    assert interval.mean - interval.low == pytest.approx(expected)


def test_values_that_are_not_there_do_not_count() -> None:
    assert mean_interval([1.0, math.nan, 2.0]) == mean_interval([1.0, 2.0])


def test_one_value_has_no_interval() -> None:
    interval = mean_interval([3.0])
    assert interval.mean == 3.0
    assert math.isnan(interval.half_width)
    assert mean_interval([]).count == 0
