"""What chance is said to allow, against exact numbers and against draws."""

from math import comb

import numpy as np
import pytest

from conformance.checks import chance

SOME = np.random.default_rng(0).standard_normal(40)


@pytest.mark.parametrize(("count", "probability"), [(50, 0.3), (200, 0.8), (32, 1 / 22680)])
def test_a_share_leaves_its_range_as_seldom_as_is_said_and_a_narrower_one_more_often(count, probability):
    def chances(numbers):
        return sum(comb(count, k) * probability**k * (1 - probability) ** (count - k) for k in numbers)

    low, high = (round(end * count) for end in chance.share(count, probability))
    assert chances(range(low)) <= chance.RISK / 2 * (1 + 1e-6)
    assert chances(range(high + 1, count + 1)) <= chance.RISK / 2 * (1 + 1e-6)
    assert low == 0 or chances(range(low + 1)) > chance.RISK / 2
    assert high == count or chances(range(high, count + 1)) > chance.RISK / 2


@pytest.mark.parametrize(("count", "probability", "expected"), [(0, 0.5, (0, 1)), (9, 1.0, (1, 1)), (9, 0.0, (0, 0))])
def test_a_share_that_chance_has_no_part_in_is_what_it_must_be(count, probability, expected):
    assert chance.share(count, probability) == expected


@pytest.mark.parametrize(
    ("degrees", "risk", "deviations"),
    [(1, 0.5, 1.0), (1, 0.05, 12.7062047), (10, 0.05, 2.2281389), (31, 1e-12, 11.5129177), (63, 0.02, 2.3870079)],
)
def test_student_s_deviations_are_those_of_the_tables(degrees, risk, deviations):
    assert chance.student_deviations(degrees, risk) == pytest.approx(deviations, rel=1e-6)


def test_samples_of_one_distribution_are_within_their_ranges_and_others_are_not():
    generator = np.random.default_rng(1)
    for _ in range(200):
        sample = generator.standard_normal(20000)
        other = generator.standard_normal(2000)
        low, high = chance.mean(sample, 2000)
        assert low < other.mean() < high
        assert not low < other.mean() + 0.5 < high
        limit = chance.correlation(2000).high
        assert abs(np.corrcoef(other, generator.standard_normal(2000))[0, 1]) < limit < 0.2


def test_the_margin_of_equivalence_is_the_range_and_what_the_confidence_needs():
    """Of as many values as there are: whoever lies just within the range has a mean this near, with 99 % confidence."""
    low, high = chance.second_mean(SOME)
    error = SOME.std(ddof=1) * np.sqrt(2 / SOME.size)
    confidence = chance.student_deviations(SOME.size - 1, 0.02) * error
    assert chance.equivalence_margin(SOME.size) * SOME.std(ddof=1) == pytest.approx((high - low) / 2 + confidence)
    assert chance.equivalence_margin(32) == pytest.approx(3.49, abs=0.005)
    assert chance.equivalence_margin(128) < chance.equivalence_margin(32) / 2
