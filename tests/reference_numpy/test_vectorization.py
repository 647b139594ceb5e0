"""Loops and vectorised forms agree; how a time is taken. No test asks how fast anything is."""

import runpy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reference_numpy import vectorization
from reference_numpy.vectorization import dot_product, dot_product_loop, measure

UNIT_ROUNDOFF = 2.0**-53
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "vectorization.py"


@pytest.mark.parametrize("form", [dot_product_loop, dot_product])
@given(case=arrays(np.float64, st.tuples(st.just(2), st.integers(0, 40)), elements=st.floats(-1e100, 1e100)))
def test_each_form_is_the_exact_sum_to_the_bound_of_its_roundings(form, case):
    """In any order ``|error| <= n u / (1 - n u) sum |a_i b_i|``, and half of the smallest number for each product."""
    a, b = case
    products = [Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    n = len(a)
    bound = Fraction(n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF)) * sum(map(abs, products)) + n * Fraction(5e-324)
    assert abs(Fraction(form(a, b)) - sum(products)) <= bound


@pytest.mark.parametrize("form", [dot_product_loop, dot_product])
@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2, 1), (2, 1)), ((2,), (1,)), ((), ())])
def test_shapes_that_do_not_fit_are_refused(form, shapes):
    with pytest.raises(ValueError, match=r"a has shape \(.*\), b \(.*\): both must be \(n,\) and equal"):
        form(*map(np.ones, shapes))


def test_a_time_is_the_median_of_the_calls_after_the_first(monkeypatch):
    now = 0.0

    def taking(*seconds):
        remaining = iter(seconds)

        def call():
            nonlocal now
            now += next(remaining)

        return call

    monkeypatch.setattr(vectorization.time, "perf_counter", lambda: now)
    timing = measure(taking(1, 8, 6, 1000), taking(50, 1, 2, 2), repeats=3)
    assert timing == (8, 2, 4)


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats=0 is not allowed: must be an integer >= 1"):
        measure(int, int, repeats=0)


def test_the_benchmark_prints_a_ratio_for_each_of_its_computations(capsys):
    runpy.run_path(str(SCRIPT))["main"](elements=2000, examples=30, features=20, repeats=1)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["loop", "vectorised", "ratio"]
    assert [line.split(" (")[0].split(",")[0] for line in lines] == [
        "dot product",
        "logistic regression",
        "logistic regression",
    ]
    for line in lines:
        loop, _, vectorized, _, ratio = line.split()[-5:]
        assert float(loop) > 0
        assert float(vectorized) > 0
        assert float(ratio) >= 0
