"""Gradient checking: the slope of the implementation's own cost, by central differences, beside its own gradient's.

Both are taken along a few directions and held against the oracle's. A gradient that belongs to another cost than the
one that is reported (a penalty left out of one of the two, say) shows here although each may look right alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.adapters.guarded import demand
from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Check, Key, Observation, Part
from conformance.checks.stand_in import StandIn
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Tensors

DIRECTIONS = 3
BY_DIFFERENCES, BY_GRADIENT = "slope by differences", "slope by gradient"


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the first batch.

    The directions are taken from the reference's gradient where the implementation gives none.
    """
    problem, batch, stand_in = case.problem, case.problem.batch(0), StandIn(case.problem)
    for step, (parameters, _) in case.points.items():
        slopes = _Slopes(session, problem, step, parameters, batch, stand_in)
        yield Part(slopes.take_gradients(), ("gradient",), step)
        yield Part(slopes.by_differences(), ("gradient",), step, BY_DIFFERENCES)
        yield Part(slopes.by_gradient(), ("gradient",), step, BY_GRADIENT)


@dataclass
class _Slopes:
    """The two slopes of the cost at one point; the gradients are asked for first, and once."""

    session: Session
    problem: Problem
    step: int
    parameters: Tensors
    batch: Batch
    stand_in: StandIn
    found: Tensors | None = None

    def take_gradients(self) -> Iterator[Observation]:
        """Nothing is seen of these but what becomes of them."""
        self.found = self.session.gradients(self.parameters, *self.batch)
        yield from ()

    def by_differences(self) -> Iterator[Observation]:
        """Beside the slopes, what a change of the cost by its own size would be as a slope.

        A rounding of the cost is to be seen in units of it, whatever the slopes.
        """
        half = half_step(self.problem)
        numerical = []
        for direction in _directions(self.problem, self._gradients()):
            above, below = (
                self._cost(_moved(self.problem, self.parameters, direction, distance)) for distance in (half, -half)
            )
            numerical.append((above - below) / (2 * half))
        numerical.append(self._cost_beside_gradients() / (2 * half))
        yield Observation(Key("gradient", self.step, BY_DIFFERENCES), np.asarray(numerical, self.problem.dtype))

    def by_gradient(self) -> Iterator[Observation]:
        """The slope that the implementation's own gradient has, if it gives one."""
        if self.found is None:  # which is told already
            return
        for name, w in self.parameters.items():
            demand(f"d{name}", self.found.get(name), w.shape)
        gradients = self._gradients()
        analytic = [
            sum(float(np.vdot(gradients[name], d)) for name, d in direction.items())
            for direction in _directions(self.problem, gradients)
        ]
        yield Observation(Key("gradient", self.step, BY_GRADIENT), np.asarray(analytic, self.problem.dtype))

    def _gradients(self) -> Tensors:
        given = self.stand_in.gradients(self.found or {}, self.parameters, self.parameters, self.batch)
        return {name: g.astype(np.float64) for name, g in given.items()}

    def _cost(self, parameters: Tensors) -> float:
        return float(demand("cost", self.session.losses(parameters, *self.batch).get("cost"), ()))

    def _cost_beside_gradients(self) -> float:
        if self.found is None:
            return self._cost(self.parameters)
        return float(demand("cost", self.found.get("cost"), ()))


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
