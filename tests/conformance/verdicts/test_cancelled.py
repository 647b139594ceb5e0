"""What is 0 in mathematics is judged beside the terms that cancel in it: rounding passes, a wrong number fails."""

from functools import cache

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.observation import Key, Observation
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.results.grammar import observations, observed_tree
from conformance.verdicts import floors
from conformance.verdicts.cancelled import beside_their_terms
from conformance.verdicts.compare import Verdict, compare, measure_errors

UNIT = 2.0**-53
BIAS, WEIGHT = "2.b_k", "2.W_k"


@cache
def measured(dtype, optimizer="gradient_descent"):
    recipe = Recipe.model_validate({
        "name": "some", "dataset": {"name": "digits", "examples": 16}, "loss": "categorical_cross_entropy",
        "model": {
            "name": "network",
            "layers": [
                {"name": "reshape", "shape": [8, 8]}, {"name": "attention", "heads": 2},
                {"name": "global_average_pool"}, {"name": "dense", "units": 10},
            ],
        },
        "optimizer": {"name": optimizer, "learning_rate": 0.02}, "batch_size": 8,
    })  # fmt: skip
    problem = prepare(recipe, dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


class Faulty(NumpySession):
    """The gradient of the key's bias is made of the others'."""

    def __init__(self, problem, of_others):
        super().__init__(problem)
        self.of_others = of_others

    def gradients(self, parameters, batch, *others):
        found = super().gradients(parameters, batch, *others)
        return found | {BIAS: self.of_others(found).astype(found[BIAS].dtype)}


def verdicts(session, dtype, check, optimizer="gradient_descent"):
    """Of what is of the key's bias."""
    case, expectations = measured(dtype, optimizer)
    found = compare(CHECKS[check](session, case), expectations[check])
    return {one.key.stage: one.verdict for one in found if one.key.name == BIAS and one.verdict != Verdict.PASS}


dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


@dtypes
@pytest.mark.parametrize("check", ["gradients", "teacher_forced"])
def test_what_rounding_leaves_of_a_gradient_of_zero_passes(dtype, check):
    assert verdicts(NumpySession(measured(dtype)[0].problem), dtype, check) == {}


FAULTS = {
    "the query's": lambda found: found["2.b_q"],
    "the value's": lambda found: found["2.b_v"],
    "a column of the weight's": lambda found: found[WEIGHT][:, 3],
    "a thousandth of the query's": lambda found: found["2.b_q"] / 1000,
}


@dtypes
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_number_in_its_place_fails(dtype, fault):
    session = Faulty(measured(dtype)[0].problem, FAULTS[fault])
    assert verdicts(session, dtype, "gradients") == {"gradient": Verdict.FAIL}


@dtypes
def test_exact_zeros_pass(dtype):
    session = Faulty(measured(dtype)[0].problem, lambda found: np.zeros_like(found[BIAS]))
    assert verdicts(session, dtype, "gradients") == {}


def test_what_an_optimizer_makes_of_rounding_by_dividing_by_its_size_is_inconclusive():
    session = NumpySession(measured("float32", "adam")[0].problem)
    assert verdicts(session, "float32", "teacher_forced", "adam") == {"parameter": Verdict.INCONCLUSIVE}


def gradient(name, value, place="first batch"):
    return Observation(Key("gradient", 0, f"d{name} ({place})", "tensor", name), np.asarray(value))


def scales(*observed, floors):
    found = beside_their_terms(observed, [np.array([floor]) for floor in floors], UNIT)
    return [one.scale for one in found]


def test_a_bias_without_digits_has_the_scale_of_its_weight_on_the_same_batch():
    observed = [gradient("1.W", [[3.0, -4.0]]), gradient("1.b", [1e-17])]
    observed += [gradient("1.W", [[2.0, 1.0]], "batch 2"), gradient("1.b", [2e-17], "batch 2")]
    assert scales(*observed, floors=[1e-16, 3.0, 1e-16, 2.0]) == [0.0, 4.0, 0.0, 2.0]
    assert scales(gradient("W12", [[0.5]]), gradient("b12", [1e-17]), floors=[1e-16, 1.0]) == [0.0, 0.5]


def test_a_bias_that_has_digits_on_most_batches_is_judged_by_its_own_size():
    observed = [gradient("1.W", [[3.0]]), gradient("1.b", [1.0]), gradient("1.b", [1e-17], "batch 2")]
    assert scales(*observed, floors=[1e-16, 1e-15, 3.0]) == [0.0, 0.0, 0.0]


def test_a_weight_without_digits_keeps_its_own_size():
    assert scales(gradient("1.W", [[1e-17]]), gradient("1.b", [1.0]), floors=[3.0, 1e-16]) == [0.0, 0.0]


def test_an_error_is_relative_to_the_scale_and_the_scale_is_kept_with_the_case():
    oracle = gradient("1.b", [1e-17])._replace(scale=4.0)
    assert measure_errors(gradient("1.b", [2.0]), oracle)[0] == 0.5
    tree, keys = observed_tree([oracle])
    assert observations(tree, keys)[0].scale == 4.0
