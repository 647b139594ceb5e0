"""Gradient checking: the slope of the implementation's own cost, by central differences, beside its own gradient's.

Both are taken along a few directions and held against the oracle's. A gradient that belongs to another cost than the
one that is reported (a penalty left out of one of the two, say) shows here although each may look right alone.
"""

from collections.abc import Iterator

import numpy as np

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors

DIRECTIONS = 3


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first batch."""
    problem, batch = case.problem, case.problem.batch(0)
    half = half_step(problem)
    for step, (parameters, _) in case.points.items():
        found = session.gradients(parameters, *batch)
        gradients: Tensors = {name: found[name].astype(np.float64) for name in parameters}
        numerical, analytic = [], []
        for direction in _directions(problem, gradients):
            above, below = (
                float(session.losses(_moved(problem, parameters, direction, distance), *batch)["cost"])
                for distance in (half, -half)
            )
            numerical.append((above - below) / (2 * half))
            analytic.append(sum(float(np.vdot(gradients[name], d)) for name, d in direction.items()))
        # Beside the slopes, what a change of the cost by its own size would be as a slope: a rounding of the cost is to
        # be seen in units of it, whatever the slopes.
        numerical.append(float(found["cost"]) / (2 * half))
        yield Observation(Key("gradient", step, "slope by differences"), np.asarray(numerical, problem.dtype))
        yield Observation(Key("gradient", step, "slope by gradient"), np.asarray(analytic, problem.dtype))


def half_step(problem: Problem) -> float:
    """The fourth root of the roundoff of the precision under test, for the oracle too.

    So the oracle makes the same truncation error, and the step can be longer than for a difference alone, which makes
    the rounding of the cost, divided by it, small.
    """
    return float(np.sqrt(np.sqrt(np.finfo(problem.working_dtype).eps / 2)))


def _directions(problem: Problem, gradients: Tensors) -> Iterator[Tensors]:
    """Directions of length 1: the gradient with every element weighted by a random number between 0 and 2.

    Along a direction drawn without regard to the gradient the slope of many parameters would be lost in rounding.
    """
    for number in range(DIRECTIONS):
        weighted: Tensors = {
            name: g * keyed_generator(problem.recipe.seed, f"direction of {name}", number).uniform(0.0, 2.0, g.shape)
            for name, g in gradients.items()
        }
        length = np.sqrt(sum(float((d * d).sum()) for d in weighted.values()))
        yield {name: d / length if length > 0 else d for name, d in weighted.items()}


def _moved(problem: Problem, parameters: Tensors, direction: Tensors, distance: float) -> Tensors:
    """``parameters`` moved along ``direction``, to numbers of the precision under test."""
    return {
        name: (w + distance * direction[name]).astype(problem.working_dtype).astype(w.dtype)
        for name, w in parameters.items()
    }
