"""In a framework the gradient follows the cost by itself; so it does in the mutants that say so, and in no others."""

import functools

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.audit.mutation import recipe_of
from conformance.checks.case import initial_state
from conformance.data.randomness import keyed_generator
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.preparation import prepare

STEP = 1e-6
CONSISTENT = 1e-6  # of the length of the gradient; the rounding of a cost, divided by the step, is 1e-10 of the cost
DIRECTIONS = 3

# Faults that differences of the cost can tell nothing of: one is a rounding, one overflows, two are at kinks.
NOT_TOLD = (
    "layers: float32 hidden in float64",
    "softmax output: not shifted by the largest logit",
    "relu: derivative 1 at 0 where 0 is asked for",
    "relu: derivative 0 at 0 where 1 is asked for",
)
# Those of layers are tried on the layers alone, in test_layer_faults.py.
OF_A_COST = [m for m in MUTANTS if "gradient_check" in m.checks and m.name not in NOT_TOLD and not m.layers]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@functools.cache
def situation(recipe):
    """A problem in float64, parameters off the initial ones (so that no bias is 0), and a batch of it."""
    problem = prepare(recipe, "float64")
    parameters = {
        name: w + 0.2 * keyed_generator(1, name).standard_normal(w.shape)
        for name, w in initial_state(problem).parameters.items()
    }
    return problem, parameters, problem.batch(0)


def apart(session, problem, parameters, batch):
    """How far the slopes of the cost are from the gradient's, along random directions, per length of the gradient."""
    found = session.gradients(parameters, *batch)
    places = parameters | {"A0": batch.x}
    length = np.sqrt(sum(float((found[name] ** 2).sum()) for name in places))
    worst = 0.0
    for number in range(DIRECTIONS):
        direction = {n: keyed_generator(number, n).standard_normal(w.shape) for n, w in places.items()}

        def cost(distance, direction=direction):
            moved = {name: w + distance * direction[name] for name, w in parameters.items()}
            x = batch.x + distance * direction["A0"]
            return float(session.losses(moved, x, *batch[1:])["cost"])

        slope = (cost(STEP) - cost(-STEP)) / (2 * STEP)
        by_gradient = sum(float((found[name] * direction[name]).sum()) for name in places)
        worst = max(worst, abs(slope - by_gradient) / length if length > 0 else np.inf)
    return worst


@pytest.mark.parametrize("mutant", OF_A_COST, ids=lambda mutant: mutant.name)
def test_the_gradient_is_the_slope_of_the_cost_where_the_mutant_says_so_and_nowhere_else(mutant):
    problem, parameters, batch = situation(recipe_of(mutant))
    distance = apart(reference_with(mutant.name).session(problem), problem, parameters, batch)
    assert (distance < CONSISTENT) == mutant.consistent, distance


def test_the_gradient_of_the_reference_is_the_slope_of_its_cost():
    for recipe in {recipe_of(mutant).hash: recipe_of(mutant) for mutant in OF_A_COST}.values():
        problem, *rest = situation(recipe)
        assert apart(NumpySession(problem), problem, *rest) < CONSISTENT, recipe


def test_what_says_that_it_is_consistent_is_tried():
    consistent = {mutant.name for mutant in MUTANTS if mutant.consistent and not mutant.layers}
    assert consistent <= {mutant.name for mutant in OF_A_COST} | set(NOT_TOLD)
