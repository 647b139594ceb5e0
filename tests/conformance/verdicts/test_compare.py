"""How a comparison is reached: errors, allowances, verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conformance.checks.observation import Key, Observation
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS, Expectation, Verdict, compare, measure_errors

KEY = Key("gradient", 3, "dW1")
U = 2.0**-53


def expect(value, key=KEY, floor=0.0, events=None, margins=None, dtype=np.float64):
    value = np.asarray(value)
    return Expectation(
        Observation(key, value, margins), np.atleast_1d(np.asarray(floor, float)), events or {}, U, np.dtype(dtype)
    )


def judge(observed, expectation):
    key = expectation.observation.key
    (comparison,) = compare([Observation(key, np.asarray(observed))], [expectation])
    return comparison


def test_an_exact_match_passes_with_error_zero():
    comparison = judge([1.0, 2.0], expect([1.0, 2.0]))
    assert (comparison.verdict, comparison.error) == (Verdict.PASS, 0.0)


def test_the_error_is_the_largest_difference_over_the_largest_expected_value():
    assert judge([1.0, 2.5], expect([1.0, 2.0])).error == 0.25
    assert judge([1.5, 2.0], expect([1.0, 2.0])).error == 0.25


def test_the_allowance_is_the_documented_function_of_the_floor():
    comparison = judge([1.0], expect([1.0], floor=1e-12))
    assert comparison.allowance == FLOOR_FACTOR * 1e-12 + ROUNDOFFS * U


@pytest.mark.parametrize(("excess", "verdict"), [(0.9, Verdict.PASS), (1.1, Verdict.FAIL)])
def test_the_allowance_decides(excess, verdict):
    expectation = expect([1.0], floor=1e-12)
    assert judge([1.0 + excess * float(expectation.allowance[0])], expectation).verdict == verdict


def test_a_failure_names_the_element_and_both_values():
    comparison = judge([[1.0, 2.0], [3.0, 4.5]], expect([[1.0, 2.0], [3.0, 4.0]]))
    assert comparison.verdict == Verdict.FAIL
    assert "dW1[1, 1] is 4.5, the oracle 4" in comparison.cause


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_fails_even_where_the_floor_is_large(bad):
    comparison = judge([1.0, bad], expect([1.0, 2.0], floor=1.0))
    assert comparison.verdict == Verdict.FAIL
    assert "at (1,)" in comparison.cause


def test_nan_is_never_a_pass_and_agrees_with_nan_alone():
    assert judge([np.nan], expect([np.nan])).verdict == Verdict.DIVERGED
    assert judge([np.nan], expect([1.0])).verdict == Verdict.FAIL


def test_another_shape_fails_even_if_it_would_broadcast():
    comparison = judge([[1.0], [1.0]], expect([1.0, 1.0]))
    assert comparison.verdict == Verdict.FAIL
    assert "has shape (2, 1): must be (2,)" in comparison.cause


def test_another_dtype_fails():
    comparison = judge(np.ones(2, np.float32), expect(np.ones(2)))
    assert comparison.verdict == Verdict.FAIL
    assert "has dtype float32: must be float64" in comparison.cause


def test_a_missing_tensor_and_one_too_many_are_reported():
    comparisons = list(compare([Observation(replace(KEY, tensor="dW9"), np.ones(1))], [expect([1.0])]))
    assert [(c.key.tensor, c.verdict) for c in comparisons] == [("dW1", Verdict.MISSING), ("dW9", Verdict.FAIL)]


def test_where_the_oracle_is_zero_only_zero_passes():
    assert judge([0.0, 0.0], expect([0.0, 0.0])).verdict == Verdict.PASS
    assert judge([0.0, 1e-300], expect([0.0, 0.0])).verdict == Verdict.FAIL


def test_constant_zero_gradients_fail_where_the_oracle_has_some():
    assert judge([0.0, 0.0], expect([0.0, 1e-30])).verdict == Verdict.FAIL


def test_a_floor_that_leaves_less_than_half_of_the_digits_is_inconclusive_even_for_an_exact_match():
    comparison = judge([1.0], expect([1.0], floor=1e-6))
    assert comparison.verdict == Verdict.INCONCLUSIVE
    assert "rounding alone moves dW1 by 1.0e-06" in comparison.cause


def test_an_event_explains_a_difference_at_its_step_and_at_no_other():
    assert judge([2.0], expect([1.0], events={3: "unit 1 is at its kink"})).verdict == Verdict.INCONCLUSIVE
    assert judge([2.0], expect([1.0], events={4: "unit 1 is at its kink"})).verdict == Verdict.FAIL


def test_an_event_does_not_spoil_agreement():
    assert judge([1.0], expect([1.0], events={3: "unit 1 is at its kink"})).verdict == Verdict.PASS


CURVE = Key("curve", 1, "cost", "curve")


def test_a_curve_is_judged_step_by_step_and_its_first_failing_step_is_reported():
    comparison = judge([3.0, 2.0, 1.5, 9.0], expect([3.0, 2.0, 1.0, 1.0], CURVE, floor=np.zeros(4)))
    assert (comparison.verdict, comparison.step, comparison.error) == (Verdict.FAIL, 3, 0.5)


def test_a_curve_that_fails_before_it_loses_its_information_fails():
    expectation = expect([3.0, 2.0, 1.0], CURVE, floor=np.array([0.0, 0.0, 1.0]))
    assert judge([3.0, 2.5, 1.0], expectation).verdict == Verdict.FAIL
    late = judge([3.0, 2.0, 7.0], expectation)
    assert (late.verdict, late.step) == (Verdict.INCONCLUSIVE, 3)


def test_a_curve_that_ends_elsewhere_fails_at_the_first_step_that_only_one_has():
    expectation = expect([3.0, 2.0, 1.0], CURVE, floor=np.zeros(3))
    for observed, step, length in (([3.0, 2.0], 3, 2), ([3.0, 2.0, 1.0, 0.5], 4, 4), ([], 1, 0)):
        found = judge(observed, expectation)
        assert (found.verdict, found.step) == (Verdict.FAIL, step)
        assert found.cause == f"cost ended after step {length}, expected 3: its shape must be (3,)"


def test_a_curve_that_differs_before_it_ends_elsewhere_fails_where_it_differs():
    found = judge([3.0, 2.5], expect([3.0, 2.0, 1.0], CURVE, floor=np.zeros(3)))
    assert (found.verdict, found.step, found.error) == (Verdict.FAIL, 2, 0.25)
    assert found.cause.endswith("; cost ended after step 2, expected 3: its shape must be (3,)")


def test_a_curve_by_epochs_counts_its_steps_and_says_its_epochs():
    by_epoch = Key("curve", 3, "validation cost", "curve", stride=3)
    expectation = expect([3.0, 2.0, 1.0], by_epoch, floor=np.zeros(3), events={9: "unit 1 is at its kink"})
    assert judge([3.0, 2.5, 1.0], expectation).step == 6
    assert judge([3.0, 2.0, 1.5], expectation).verdict == Verdict.INCONCLUSIVE
    found = judge([3.0], expectation)
    assert (found.step, found.cause) == (6, "validation cost ended after epoch 1, expected 3: its shape must be (3,)")


DECISION = Key("decision", 9, "predicted classes", "decision")


def test_a_decision_that_fell_differently_by_a_hair_passes_and_by_a_margin_fails():
    margins = np.array([4.0, 1e-13, 2.0])
    expectation = expect(np.array([0, 1, 2]), DECISION, floor=1e-13, margins=margins)
    assert judge(np.array([0, 2, 2]), expectation).verdict == Verdict.PASS
    failing = judge(np.array([0, 1, 0]), expectation)
    assert (failing.verdict, failing.error) == (Verdict.FAIL, 0.5)
    assert failing.cause == "predicted classes: 1 of 3 decisions differ"


def test_every_expectation_gives_exactly_one_comparison():
    expectations = [expect([1.0], replace(KEY, tensor=f"dW{n}")) for n in range(5)]
    observations = [Observation(replace(KEY, tensor=f"dW{n}"), np.ones(1)) for n in (0, 2, 4)]
    assert [c.key.tensor for c in compare(observations, expectations)] == [f"dW{n}" for n in range(5)]


finite = st.floats(-1e100, 1e100, allow_subnormal=False)


@given(arrays(float, (3,), elements=finite), st.floats(1e-3, 1e3))
def test_the_error_does_not_depend_on_the_scale(value, scale):
    assume(not np.any((value != 0) & (np.abs(value) < 1e-290)))  # differences below normal numbers count as none
    other = value * (1 + 1e-3)
    error = measure_errors(Observation(KEY, other), Observation(KEY, value))[0]
    scaled = measure_errors(Observation(KEY, scale * other), Observation(KEY, scale * value))[0]
    assert scaled == pytest.approx(error, rel=1e-6)
