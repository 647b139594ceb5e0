"""How times are taken and compared: in turn, in pairs, with intervals that hold. No test asks how fast anything is."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import page, timing
from benchmarks.timing import Spread, interleave, median_interval, paired_ratios, pooled


class Clock:
    """Time that passes where it is told to."""

    def __init__(self):
        self.now = 0.0
        self.done = []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        def run():
            self.now += seconds
            self.done.append(name)

        return run


@pytest.mark.parametrize("module", [timing, page], ids=lambda module: module.__name__)
def test_the_examples_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_works_are_run_in_turn_each_round_beginning_with_another():
    clock = Clock()
    interleave({name: clock.work(name, 1.0) for name in "abc"}, seconds=0, least=4, clock=clock)
    assert "".join(clock.done) == "aabbcc" + "abc" + "bca" + "cab" + "abc"


def test_every_round_has_the_seconds_of_each_work_and_warming_up_has_none():
    clock = Clock()
    found = interleave({"a": clock.work("a", 2.0), "b": clock.work("b", 0.5)}, seconds=0, least=3, clock=clock)
    assert found == {"a": [2.0] * 3, "b": [0.5] * 3}


@pytest.mark.parametrize(("seconds", "least", "most", "rounds"), [(5, 1, 100, 10), (0, 7, 100, 7), (50, 1, 4, 4)])
def test_rounds_end_after_the_seconds_of_each_work_but_within_least_and_most(seconds, least, most, rounds):
    clock = Clock()
    works = {"a": clock.work("a", 0.75), "b": clock.work("b", 0.25)}
    assert len(interleave(works, seconds=seconds, least=least, most=most, clock=clock)["a"]) == rounds


def test_no_works_are_refused():
    with pytest.raises(ValueError, match="works is empty"):
        interleave({}, seconds=1)


def test_a_disturbance_of_both_leaves_their_paired_ratio():
    disturbance = np.array([1.0, 1.0, 9.0, 3.0, 1.0])
    assert Spread.of(paired_ratios(3 * disturbance, 2 * disturbance)) == (1.5, 1.5, 1.5)


def test_ratios_of_unequal_numbers_of_rounds_are_refused():
    with pytest.raises(ValueError, match="zip"):
        paired_ratios([1.0], [1.0, 2.0])


@given(n=st.integers(6, 60))
def test_an_interval_holds_the_median_as_often_as_it_says_and_a_narrower_one_does_not(n):
    """The number of values below the median is binomial, whatever they are drawn from."""
    low, high = median_interval(list(map(float, range(n))))
    k = int(low) + 1
    assert high == n - k
    outside = [2 * sum(math.comb(n, i) for i in range(limit)) / 2**n for limit in (k, k + 1)]
    assert outside[0] <= 0.05 < outside[1]


@pytest.mark.parametrize("n", range(1, 6))
def test_the_interval_of_few_values_is_their_range(n):
    assert median_interval([float(value) for value in range(n)]) == (0.0, n - 1.0)


def test_the_spread_of_several_processes_holds_what_differs_between_them():
    assert pooled([[1.0, 1.0, 1.0], [1.1, 1.1, 1.1]]) == (1.0, pytest.approx(1.05), 1.1)
