"""Tests of the checks: a fault injected into a copy of the reference is found, and in the stage where it was made."""

from dataclasses import astuple, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS, gradient_check
from conformance.checks.case import build_case
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, compare

TINY = {"examples": 24, "test_examples": 12}
BASE = {
    "name": "small",
    "dataset": {"name": "moons", "scaling": "none", **TINY},
    "model": {"name": "deep_network", "hidden_units": [5, 3], "activation": "tanh"},
    "initializer": "xavier_normal",
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.2},
    "batch_size": 9,
    "epochs": 2,
}
DIGITS = {"name": "digits", "scaling": "unit", "examples": 30, "test_examples": 12}
RECIPES = {
    "penalty": {"regularizers": [{"name": "l2", "strength": 0.5}]},
    "clipping": {"regularizers": [{"name": "clip_by_global_norm", "limit": 0.05}]},
    "constraint": {"regularizers": [{"name": "max_norm", "limit": 0.5}]},
    "batch norm": {"model": BASE["model"] | {"normalization": "batch_norm"}},
    "shift": {
        "dataset": DIGITS,
        "model": {"name": "softmax_classifier"},
        "loss": "categorical_cross_entropy",
        "regularizers": [{"name": "random_shift", "largest": 2}],
    },
    "stopping": {  # so large a rate that the validation cost soon rises
        "optimizer": {"name": "gradient_descent", "learning_rate": 8.0},
        "regularizers": [{"name": "early_stopping", "patience": 1}],
        "epochs": 12,
    },
    "one epoch": {"regularizers": [{"name": "early_stopping", "patience": 1}], "epochs": 1},
    "transfer": {"transfer": {"frozen_layers": 1}},
}


class WithoutThePenalty(NumpySession):
    def gradients(self, parameters, x, y, masks, weights):
        right = super().gradients(parameters, x, y, masks, weights)
        objective, self.objective = self.objective, replace(self.objective, penalties=())
        try:
            return super().gradients(parameters, x, y, masks, weights) | {"cost": right["cost"]}
        finally:
            self.objective = objective


class OneElementDoubled(NumpySession):
    def gradients(self, parameters, x, y, masks, weights):
        found = super().gradients(parameters, x, y, masks, weights)
        largest = np.unravel_index(np.argmax(np.abs(found["W2"])), found["W2"].shape)
        found["W2"][largest] *= 2
        return found


class PenaltyTwice(NumpySession):
    def losses(self, parameters, x, y, masks, weights):
        found = super().losses(parameters, x, y, masks, weights)
        return found | {"cost": found["cost"] + found["penalty"]}


class Unclipped(NumpySession):
    def clip(self, gradients):
        return dict(gradients)


class UnbiasedVariance(NumpySession):
    def running_statistics(self, parameters, x, masks, statistics):
        biased = self.model
        options = biased.normalization_options | {"running_variance": "unbiased"}
        self.model = replace(biased, normalization_options=options)
        try:
            return super().running_statistics(parameters, x, masks, statistics)
        finally:
            self.model = biased


class Unconstrained(NumpySession):
    def constrain(self, parameters):
        return dict(parameters)


class ShiftedBackwards(NumpySession):
    def augment(self, x, draws):
        return super().augment(x, [-drawn for drawn in draws])


def with_recipe(problem, **changes):
    return replace(problem, recipe=problem.recipe.model_copy(update=changes))


class StoppedLate(NumpySession):
    def fit(self, problem, checkpoint_epochs):
        (stopping,) = problem.recipe.regularizers
        later = stopping.model_copy(update={"patience": stopping.keywords["patience"] + 1})
        return super().fit(with_recipe(problem, regularizers=(later,)), checkpoint_epochs)


class TrainsFrozenLayers(NumpySession):
    def fit(self, problem, checkpoint_epochs):
        return super().fit(with_recipe(problem, transfer=None), checkpoint_epochs)


class Fault(NamedTuple):
    """A session with a fault, the recipe that shows it, and every check that must fail.

    ``found``: what must fail in ``check``, the tensors of each stage; ANY where they follow from those of others.
    """

    session: type
    recipe: str
    checks: tuple
    check: str
    found: dict


ANY = None
WRONG_GRADIENT = ("gradients", "gradient_check", "teacher_forced")
BOTH_SLOPES = {"gradient": {"slope by differences", "slope by gradient"}}
WEIGHTS, ALL = {"W1", "W2", "W3"}, {"W1", "b1", "W2", "b2", "W3", "b3"}
FAULTS = [
    Fault(WithoutThePenalty, "penalty", WRONG_GRADIENT, "gradient_check", BOTH_SLOPES),
    Fault(OneElementDoubled, "penalty", WRONG_GRADIENT, "gradient_check", BOTH_SLOPES),
    Fault(
        PenaltyTwice, "penalty", ("loss", "gradient_check"), "gradient_check", {"gradient": {"slope by differences"}}
    ),
    Fault(
        Unclipped,
        "clipping",
        ("teacher_forced",),
        "teacher_forced",
        {"clipped gradient": {f"d{name}" for name in ALL}, "optimizer state": ANY, "parameter": ANY},
    ),
    Fault(
        UnbiasedVariance,
        "batch norm",
        ("forward", "teacher_forced"),
        "teacher_forced",
        {"running statistic": {"running_variance1", "running_variance2"}},
    ),
    Fault(Unconstrained, "constraint", ("teacher_forced",), "teacher_forced", {"parameter": WEIGHTS}),
    Fault(ShiftedBackwards, "shift", ("forward",), "forward", {"input": {"augmented inputs"}}),
    Fault(StoppedLate, "stopping", ("free_running",), "free_running", {"curve": ANY, "decision": {"last epoch"}}),
    Fault(
        TrainsFrozenLayers,
        "transfer",
        ("free_running",),
        "free_running",
        {"curve": {"cost", "gradient norm"}, "parameter": ALL, "optimizer state": ANY},
    ),
]


@cache
def case_of(name, dtype):
    """The case of a recipe in a precision, and what is expected in it."""
    problem = prepare(Recipe.model_validate(BASE | RECIPES[name]), dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def failures(session, name, dtype):
    """What fails of a session, by check: (stage, tensor), in the order in which it is seen."""
    case, expectations = case_of(name, dtype)
    made = session(case.problem)
    found = {}
    for check, observe in CHECKS.items():
        for comparison in compare(observe(made, case), expectations[check]):
            if comparison.verdict not in NOT_FAILING:
                found.setdefault(check, []).append((comparison.key.stage, comparison.key.tensor))
    return found


dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


@dtypes
@pytest.mark.parametrize("name", RECIPES)
def test_the_reference_fails_nowhere(name, dtype):
    assert failures(NumpySession, name, dtype) == {}


@dtypes
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.session.__name__)
def test_an_injected_fault_is_found_where_it_was_made_and_nowhere_else(fault, dtype):
    failing = failures(fault.session, fault.recipe, dtype)
    assert tuple(failing) == fault.checks
    found = {}
    for stage, tensor in failing[fault.check]:
        found.setdefault(stage, set()).add(tensor)
    assert {stage: ANY if fault.found.get(stage) is ANY else tensors for stage, tensors in found.items()} == fault.found


@dtypes
def test_training_on_for_an_epoch_after_the_stop_needs_a_training_that_stops(dtype):
    case, expectations = case_of("stopping", dtype)
    (last,) = (e.observation for e in expectations["free_running"] if e.observation.key.tensor == "last epoch")
    assert 1 < last.value[0] < case.problem.recipe.epochs


def test_the_half_step_is_that_of_the_precision_under_test_for_the_oracle_too():
    """Else the oracle would make another truncation error than an implementation, and their slopes would differ."""
    single, double = case_of("penalty", "float32")[0], case_of("penalty", "float64")[0]
    half = gradient_check.half_step(single.problem)
    assert half == gradient_check.half_step(single.in_float64().problem) == 2.0**-6
    assert gradient_check.half_step(double.problem) == pytest.approx(2.0**-13.25, rel=1e-15)


@dtypes
@pytest.mark.parametrize("name", RECIPES)
def test_the_two_slopes_agree_up_to_the_truncation_error_of_a_central_difference(name, dtype):
    """At half step h it is ``h^2/6`` times the third derivative; with batch norm that is tens of times the slope.

    In float32 rounding of the cost by ``u`` leaves ``u/h = h^3`` besides, which is less.
    """
    case, expectations = case_of(name, dtype)
    half = gradient_check.half_step(case.problem)
    slopes = {astuple(e.observation.key)[:3]: e.observation.value for e in expectations["gradient_check"]}
    for step in case.points:
        numerical, analytic = (slopes["gradient", step, f"slope by {way}"] for way in ("differences", "gradient"))
        numerical = numerical[:-1]  # the last is no slope but the cost over the step
        assert analytic.min() > 0  # along the gradient, roughly
        assert numerical == pytest.approx(analytic, rel=100 * half**2)
