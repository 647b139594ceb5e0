"""Values that are no values: each is a failure of its own, in every check where it can occur, and none gets lost."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.observation import STAGES, Key, Observation
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, Expectation, Verdict, compare
from conformance.verdicts.record import Context
from conformance.verdicts.summary import records_of

RECIPE = recipe_with({"optimizer": "momentum"}, "small", epochs=1)
OWN_PRECISION = ("tensor", "statistic")


@cache
def situation():
    problem = prepare(RECIPE, "float32")
    case = build_case(problem, NumpySession(problem.in_float64()))
    expectations = floors.measure(case)
    session = NumpySession(case.problem)
    return expectations, {check: tuple(observe(session, case)) for check, observe in CHECKS.items()}


def replaced(check, malform):
    """What becomes of each observation of a check that is malformed, all others being right: (key, comparison)."""
    expectations, observed = situation()
    for place, observation in enumerate(observed[check]):
        others = [*observed[check][:place], *observed[check][place + 1 :]]
        value = malform(np.asarray(observation.value), observation.key)
        if value is not None:
            found = list(compare([*others, observation._replace(value=value)], expectations[check]))
            assert len(found) == len(expectations[check])
            (comparison,) = (c for c in found if c.verdict not in NOT_FAILING)
            assert comparison.key == observation.key
            yield observation.key, comparison


def filled(number):
    def malform(value, key):
        if key.kind == "decision":  # integers hold no such number
            return None
        value = np.array(value)
        value.flat[-1] = number
        return value

    return malform


def one_axis_more(value, key):
    return value[..., np.newaxis]


def one_element_less(value, key):
    return value.ravel()[:-1] if key.kind != "curve" else None


def one_value_less(value, key):
    return value[:-1] if key.kind == "curve" else None


def in_the_other_precision(value, key):
    return value.astype(np.float64) if key.kind in OWN_PRECISION else None


def as_floats(value, key):
    return value.astype(np.float32) if key.kind == "decision" else None


MALFORMED = [
    (filled(np.nan), "is nan at"),
    (filled(np.inf), "is inf at"),
    (filled(-np.inf), "is -inf at"),
    (one_axis_more, "has shape"),
    (one_element_less, "has shape"),
    (one_value_less, "ended after "),
    (in_the_other_precision, "has dtype float64: must be float32"),
    (as_floats, "has dtype float32: must be integers"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_malformed_fails_with_its_cause_and_nothing_else_does(check):
    kinds = {observation.key.kind for observation in situation()[1][check]}
    for malform, cause in MALFORMED:
        found = list(replaced(check, malform))
        only = {as_floats: {"decision"}, one_value_less: {"curve"}}
        assert found or not kinds & only.get(malform, {"tensor", "statistic"})
        for key, comparison in found:
            assert comparison.verdict == Verdict.FAIL
            assert comparison.cause.startswith(f"{key.tensor} {cause}")
            assert np.isnan([comparison.error, comparison.ulps]).all()


@pytest.mark.parametrize("check", CHECKS)
def test_a_missing_tensor_is_missing_and_one_too_many_is_too_many(check):
    expectations, observed = situation()
    for place, observation in enumerate(observed[check]):
        renamed = observation._replace(key=replace(observation.key, tensor="another"))
        found = list(compare([*observed[check][:place], renamed, *observed[check][place + 1 :]], expectations[check]))
        failing = [comparison for comparison in found if comparison.verdict not in NOT_FAILING]
        assert [(c.key, c.verdict) for c in failing] == [
            (observation.key, Verdict.MISSING), (renamed.key, Verdict.FAIL)
        ]  # fmt: skip
        assert [c.cause for c in failing] == [
            f"{observation.key.tensor} was not returned", "another is not one of the oracle's tensors"
        ]  # fmt: skip


@pytest.mark.parametrize("check", ["gradients", "teacher_forced"])
def test_gradients_that_are_zero_throughout_fail(check):
    expectations, observed = situation()
    zeros = [
        o._replace(value=np.zeros_like(o.value)) if o.key.stage == "gradient" else o for o in observed[check]
    ]  # fmt: skip
    found = [c for c in compare(zeros, expectations[check]) if c.key.stage == "gradient"]
    assert {(comparison.verdict, comparison.error) for comparison in found} == {(Verdict.FAIL, 1.0)}


def test_nothing_at_all_is_missing_throughout():
    for expected in filter(None, situation()[0].values()):  # a check may look at other recipes
        assert {comparison.verdict for comparison in compare([], expected)} == {Verdict.MISSING}


PER_EXAMPLE = Key("loss", 0, "per_example")


def expect(value, key=PER_EXAMPLE):
    return Expectation(Observation(key, np.asarray(value)), np.zeros(1), {}, 2.0**-24, np.dtype(np.float32))


def test_an_empty_batch_where_there_is_none_fails_and_where_there_is_one_agrees():
    empty = Observation(PER_EXAMPLE, np.zeros(0, np.float32))
    (failing,) = compare([empty], [expect([1.0, 2.0])])
    assert (failing.verdict, failing.cause) == (Verdict.FAIL, "per_example has shape (0,): must be (2,)")
    (agreeing,) = compare([empty], [expect(np.zeros(0))])
    assert (agreeing.verdict, agreeing.error) == (Verdict.PASS, 0.0)
    assert np.isnan(agreeing.ulps)


@pytest.mark.parametrize(
    ("observed", "expected", "ulps"),
    [
        ([1.0, np.nextafter(np.float32(2), np.float32(3))], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0 + 2.0**-20, 2.0], [1.0, 2.0], 8.0),
        ([-1024.0, 0.5], [-1024.0 + 2.0**-13, 0.5], 2.0),  # in units below 1024, twice as fine
        ([0.0, 4.0], [0.0, 4.0 - 2.0**-24], 0.125),  # the oracle has more digits than the precision under test
    ],
)
def test_the_difference_is_counted_in_units_of_the_working_precision(observed, expected, ulps):
    seen = Observation(PER_EXAMPLE, np.asarray(observed, np.float32))
    (comparison,) = compare([seen], [expect(expected)])
    assert comparison.ulps == ulps


def test_a_decision_has_no_units_in_the_last_place():
    key = Key("decision", 1, "predicted classes", "decision")
    oracle = Observation(key, np.array([0, 1]), np.array([1.0, 2.0]))
    expectation = Expectation(oracle, np.zeros(1), {}, 2.0**-24, np.dtype(np.float32))
    (comparison,) = compare([Observation(key, np.array([0, 1]))], [expectation])
    assert comparison.verdict == Verdict.PASS
    assert np.isnan(comparison.ulps)


KEYS = [Key(stage, step, tensor) for stage in ("loss", "gradient") for step in (0, 3) for tensor in "abc"]
UNKNOWN = [Key("parameter", 1, "d"), Key("loss", 7, "a"), Key("loss", 0, "a", "curve")]


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.sampled_from(KEYS), unique=True), st.lists(st.sampled_from(KEYS + UNKNOWN)))
def test_no_comparison_goes_without_a_record(expected, seen):
    """Whatever is dropped, doubled or renamed: one comparison of each key that is expected or seen, in one record."""
    found = list(compare([Observation(key, np.ones(2, np.float32)) for key in seen],
                         [expect(np.ones(2), key) for key in expected]))  # fmt: skip
    assert [comparison.key for comparison in found] == list(dict.fromkeys([*expected, *seen]))
    for comparison in found:
        right = comparison.key in expected and comparison.key in seen
        wrong = Verdict.MISSING if comparison.key in expected else Verdict.FAIL
        assert comparison.verdict == (Verdict.PASS if right else wrong)
    records = records_of(Context("run", "file", RECIPE, "tested", "1", "cpu", "float32"), "loss", iter(found), {}, 1.0)
    places = {(key.stage, key.tensor) for key in (*expected, *seen)}
    assert sorted((record.stage, record.tensor) for record in records) == sorted(places)
    for record in records:
        verdicts = {c.verdict for c in found if (c.key.stage, c.key.tensor) == (record.stage, record.tensor)}
        assert (record.verdict in NOT_FAILING) == (verdicts <= set(NOT_FAILING))
    assert [STAGES.index(r.stage) for r in records] == sorted(STAGES.index(r.stage) for r in records)
