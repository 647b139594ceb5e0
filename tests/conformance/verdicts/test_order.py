"""One clock: what comes into being first stands first, whatever it is."""

import random

import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.observation import Key
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import Verdict, verdict_alone
from conformance.verdicts.order import first_failing, place

IN_A_STEP = [
    ("curve", "learning rate"), ("curve", "cost"), ("curve", "gradient norm"), ("optimizer state", "velocity of W1"),
    ("parameter", "W1"), ("running statistic", "running_mean1"), ("curve", "validation cost"),
]  # fmt: skip
RECIPE = {
    "name": "clock",
    "dataset": {"name": "moons", "scaling": "none", "examples": 20, "test_examples": 10},
    "model": {"name": "deep_network", "hidden_units": [3], "activation": "tanh", "normalization": "batch_norm"},
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.1},
    "regularizers": [{"name": "early_stopping", "patience": 5}],
    "batch_size": 8,
    "epochs": 2,
}


def failing(stage, tensor, step):
    return verdict_alone(Key(stage, step, tensor), Verdict.FAIL, "")


def test_within_a_step_what_is_made_of_something_comes_after_it():
    found = [failing(stage, tensor, step) for step in (3, 4) for stage, tensor in IN_A_STEP]
    shuffled = random.Random(0).sample(found, len(found))
    while shuffled:
        first = first_failing(shuffled)
        assert first == found.pop(0)
        shuffled.remove(first)


def test_the_cost_of_a_step_comes_before_the_parameters_after_it_and_those_before_the_next_cost():
    places = [place("free_running", step, *IN_A_STEP[kind]) for step, kind in ((3, 1), (3, 4), (3, 6), (4, 0), (4, 1))]
    assert places == sorted(places)
    assert place("teacher_forced", 9, "parameter", "W1") < place("free_running", 1, "curve", "learning rate")
    assert place("loss", 0, "") < place("loss", 0, "loss", "cost")


@pytest.fixture(scope="module")
def seen():
    problem = prepare(Recipe.model_validate(RECIPE), "float64")
    oracle = NumpySession(problem)
    return {o.key: o for o in CHECKS["free_running"](oracle, build_case(problem, oracle))}


def test_a_trainings_curves_parameters_and_decisions_have_one_clock(seen):
    """Three steps an epoch, two epochs; what there is afterwards is not of any of the steps."""
    steps = {key.tensor: [key.step_of(place) for place in range(o.value.size)] for key, o in seen.items()
             if key.kind == "curve"}  # fmt: skip
    every = [1, 2, 3, 4, 5, 6]
    assert steps == {"learning rate": every, "cost": every, "gradient norm": every, "validation cost": [3, 6]}
    assert {key.step for key in seen if key.tensor == "W1"} == {3, 6}
    assert {key.step for key in seen if key.stage == "decision" or key.tensor.endswith("at the end")} == {7}
