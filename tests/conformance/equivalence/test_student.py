"""Student's t against SciPy's, and the equivalence test against what it promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conformance.equivalence.student import (
    DIFFERENT,
    EQUIVALENT,
    LEVEL,
    UNDECIDED,
    cumulative,
    equivalence,
    quantile,
)


@given(st.floats(-50, 50), st.integers(1, 300))
def test_the_distribution_is_that_of_scipy(t, freedom):
    assert cumulative(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)  # SciPy is 6e-13 off near 0


@given(st.floats(-50, 50))
def test_of_one_degree_it_is_cauchy_s_and_of_two_a_root(t):
    assert cumulative(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-15)
    assert cumulative(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-15)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 999])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.95, 0.999])
def test_the_quantile_is_that_of_scipy(probability, freedom):
    assert quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-11, abs=1e-11)


def test_the_two_tests_are_those_of_scipy():
    differences = np.random.default_rng(1).normal(0.1, 0.3, 12)
    found = equivalence(differences.tolist(), margin=0.4)
    below = stats.ttest_1samp(differences, -0.4, alternative="greater").pvalue
    above = stats.ttest_1samp(differences, 0.4, alternative="less").pvalue
    assert found.probability == pytest.approx(max(below, above))
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(1 - 2 * LEVEL)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    assert (found.verdict == EQUIVALENT) == (found.probability < LEVEL)


@pytest.mark.parametrize("true_mean", [1.0, -1.0])
def test_a_mean_at_the_margin_is_taken_for_equivalent_once_in_twenty_times_and_for_different_too(true_mean):
    generator = np.random.default_rng(2)
    verdicts = [equivalence(generator.normal(true_mean, 0.3, 8), margin=1.0).verdict for _ in range(2000)]
    for verdict in (EQUIVALENT, DIFFERENT):
        assert 0.03 < verdicts.count(verdict) / len(verdicts) < 0.07


@given(st.integers(3, 40), st.floats(-3, 3), st.floats(0.05, 3))
def test_as_many_more_as_are_said_to_be_needed_decide_and_one_less_does_not(count, mean, deviation):
    own = np.linspace(-1, 1, count)
    found = equivalence((mean + own * deviation / own.std(ddof=1)).tolist(), margin=1.0)
    if found.verdict != UNDECIDED:
        assert found.further == 0
        return
    if found.further is None or count + found.further > 400:
        return
    for further, decided in ((found.further, True), (found.further - 1, False)):
        half = stats.t.ppf(1 - LEVEL, count + further - 1) * found.deviation / np.sqrt(count + further)
        assert (half < abs(1.0 - abs(found.mean))) == decided


def test_what_never_differs_is_equivalent_within_no_margin_and_what_always_does_alike_is_not():
    assert equivalence([0.0, 0.0, 0.0], margin=0.0).verdict == EQUIVALENT
    assert equivalence([0.1, 0.1, 0.1], margin=0.0).verdict == DIFFERENT
    assert equivalence([0.5, 0.5], margin=0.5).further is None
    with pytest.raises(ValueError, match="must be two or more"):
        equivalence([0.1], margin=1.0)


def test_a_difference_that_is_small_can_be_seen_all_the_same():
    found = equivalence([0.010, 0.011, 0.012], margin=1.0)
    assert (found.verdict, found.is_seen) == (EQUIVALENT, True)
    assert not equivalence([-0.1, 0.1, 0.0], margin=1.0).is_seen
