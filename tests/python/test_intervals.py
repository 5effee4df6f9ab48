from __future__ import annotations

import math
import statistics

import pytest

from blockwise.statistics.intervals import mean_interval, t_quantile


def t_density(t: float, n: int) -> float:
    log = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
    return math.exp(log - (n + 1) / 2 * math.log1p(t * t / n))


@pytest.mark.parametrize("n", [*range(1, 36), 60, 200])
def test_a_quantile_leaves_a_fortieth_above_it(n: int) -> None:
    # Simpson's rule from 0 to the quantile, where the distribution function is 0.5.
    end, pieces = t_quantile(n), 2000
    values = [t_density(end * i / pieces, n) for i in range(pieces + 1)]
    weights = [1, *([4, 2] * (pieces // 2))[:-1], 1]
    area = end / pieces / 3 * sum(w * v for w, v in zip(weights, values, strict=True))
    # The table has four decimals, and the density there is at most 0.06.
    assert 0.5 + area == pytest.approx(0.975, abs=5e-5 * 0.06 + 1e-9)


def test_far_beyond_the_table_it_is_the_normal_quantile() -> None:
    normal = statistics.NormalDist().inv_cdf(0.975)
    assert t_quantile(10**7) == pytest.approx(normal, abs=1e-6)


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
