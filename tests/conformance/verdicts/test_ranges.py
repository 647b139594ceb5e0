"""A reference that leaves the range of its precision: who does as it does agrees, and who does not differs."""

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.checks.observation import Key, Observation
from conformance.diagnosis.workshop import Workshop
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts import ceilings, floors
from conformance.verdicts.compare import Expectation, Verdict, compare
from conformance.verdicts.ranges import DOUBT, doubted
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge

NAN, INF = np.nan, np.inf


def expect(value, share, kind="tensor", step=3):
    observation = Observation(Key("gradient", step, "dW1", kind), np.asarray(value, np.float64))
    size = len(value) if kind == "curve" else 1
    shares = np.broadcast_to(np.asarray(share, np.float64), size)
    floor = np.where((shares > 0) | ~np.isfinite(np.resize(value, size)), NAN, 0.0)
    return Expectation(observation, floor, {}, 2.0**-53, np.dtype(np.float64), shares)


def judged(value, expectation):
    (found,) = compare([Observation(expectation.observation.key, np.asarray(value, np.float64))], [expectation])
    return found


@pytest.mark.parametrize(
    ("observed", "oracle", "share", "verdict"),
    [
        ([INF, 1.0], [INF, 1.0], 1.0, Verdict.DIVERGED),
        ([NAN, 1.0], [INF, 1.0], 1.0, Verdict.DIVERGED),
        ([2.0, 1.0], [INF, 1.0], 1.0, Verdict.FAIL),
        ([2.0, 1.0], [INF, 1.0], DOUBT, Verdict.INCONCLUSIVE),
        ([NAN, 1.0], [1.0, 1.0], 0.0, Verdict.FAIL),
        ([NAN, 1.0], [1.0, 1.0], 1.0, Verdict.DIVERGED),  # the working precision alone is left
        ([1.0, 1.0], [1.0, 1.0], 1.0, Verdict.INCONCLUSIVE),
        ([1.0, 1.0], [1.0, 1.0], DOUBT, Verdict.INCONCLUSIVE),
        ([1.0, 1.0], [1.0, 1.0], 0.0, Verdict.PASS),
    ],
)
def test_who_leaves_the_range_where_the_reference_does_agrees_with_it(observed, oracle, share, verdict):
    found = judged(observed, expect(oracle, share))
    assert found.verdict == verdict
    if verdict == Verdict.DIVERGED:
        assert found.cause == "dW1 diverges in the reference from step 3"


def test_a_curve_is_compared_until_it_diverges():
    expectation = expect([1.0, 2.0, INF, NAN], [0, 0, 1, DOUBT], "curve")
    found = judged([1.0, 2.0, INF, NAN], expectation)
    assert (found.verdict, found.step) == (Verdict.DIVERGED, 5)
    assert judged([1.0, 2.5, INF, NAN], expectation).verdict == Verdict.FAIL
    early, late = judged([1.0, INF, INF, NAN], expectation), judged([1.0, 2.0, 9.0, NAN], expectation)
    assert (early.verdict, early.step, early.cause) == (Verdict.FAIL, 4, "dW1 is inf at (1,), the oracle 2.0")
    assert (late.verdict, late.step, late.cause) == (Verdict.FAIL, 5, "dW1 is 9.0 at (2,), the oracle inf")


def test_a_curve_that_ends_where_it_left_the_range_of_the_working_precision_has_diverged():
    expectation = expect([1.0, 2.0, 3.0], [0, 1, 1], "curve")
    assert judged([1.0], expectation).verdict == Verdict.DIVERGED
    assert judged([1.0, 2.0], expect([1.0, 2.0, 3.0], 0.0, "curve")).verdict == Verdict.FAIL


def test_what_is_made_of_what_is_not_finite_is_in_doubt():
    made = [expect([INF], 1.0, step=step).observation for step in (2, 3, 4)]
    before = expect([1.0], 0.0, step=1).observation
    shares = doubted([before, *made], [np.zeros(1), *[np.ones(1)] * 3], lost=())
    assert [float(share[0]) for share in shares] == [0.0, 1.0, DOUBT, DOUBT]
    assert [float(share[0]) for share in doubted(made, [np.ones(1)] * 3, lost={2})] == [DOUBT, DOUBT, DOUBT]


BASE = {
    "name": "diverging",
    "loss": "mean_squared_error",
    "epochs": 20,
    "batch_size": 10,
    "dataset": {"name": "housing", "examples": 40, "scaling": "none"},
    "model": {"name": "single_neuron", "output": "identity"},
    "optimizer": {"name": "gradient_descent", "learning_rate": 1e3},
}
RECIPES = {
    "unscaled inputs": {},
    "momentum": {"optimizer": {"name": "momentum", "learning_rate": 1e5}},
    "early stopping": {"regularizers": [{"name": "early_stopping", "patience": 2}]},
    "clipping": {"regularizers": [{"name": "clip_by_global_norm", "limit": 1e300}]},
    "rectifiers": {
        "model": {"name": "deep_network", "hidden_units": [4], "activation": "relu", "output": "identity"},
        "dataset": BASE["dataset"] | {"scaling": "standardize"},
    },
    "logarithm of 0": {
        "loss": "binary_cross_entropy",
        "dataset": {"name": "moons", "examples": 40, "test_examples": 10},
        "model": {"name": "deep_network", "hidden_units": [4], "activation": "relu"},
        "optimizer": {"name": "momentum", "learning_rate": 1e6},
    },
}


def records(session, problem, case, expectations):
    context = Context("run", "file", problem.recipe, "tested", "1", "cpu", problem.dtype.name)
    return [
        record
        for check in CHECKS
        for record in judge(context, look(session, case, check), expectations[check], {}, check, 1.0)
    ]


class NeverInfinite(NumpySession):
    def gradients(self, *given):
        return {name: np.nan_to_num(value) for name, value in super().gradients(*given).items()}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_diverges_fails_nobody_who_does_as_the_reference(name, dtype):
    problem = prepare(Recipe.model_validate(BASE | RECIPES[name]), dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    expectations = floors.measure(case)
    ceilings.above(expectations, ceilings.measure(case, expectations))
    floors.informative_steps(expectations)
    found = records(NumpySession(problem), problem, case, expectations)
    assert {record.verdict for record in found} <= {"pass", "diverged", "inconclusive"}
    assert dtype == "float64" or "diverged" in {record.verdict for record in found}
    Workshop(case.in_float64()).unchanged("free_running")


def test_who_stays_finite_where_the_reference_does_not_fails():
    problem = prepare(Recipe.model_validate(BASE | {"epochs": 60}), "float64")
    case = build_case(problem, NumpySession(problem.in_float64()))
    found = records(NeverInfinite(problem), problem, case, floors.measure(case))
    first = next(record for record in found if record.verdict == "fail")
    assert (first.check, first.tensor) == ("teacher_forced", "cost")
    assert first.cause.endswith("the oracle inf")
