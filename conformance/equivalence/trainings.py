"""Trainings of two dialects from the same tapes, and how far rounding alone would part two of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Adapter, Session, Training
from conformance.checks.free_running import train
from conformance.problems.preparation import prepare
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS
from conformance.verdicts.rerounding import REORDERED, Rerounded
from reference_numpy.metrics import accuracy

LOOKED_AT = 3  # seeds of which it is seen from which step on more than rounding parts the two
JITTERED = 3  # the place of the variant whose inputs and functions are moved


class Trained(NamedTuple):
    """A training: its cost at each step, and the accuracy on test examples in per cent, NaN where there is none."""

    costs: Array
    accuracy: float


class Pair(NamedTuple):
    """Both dialects' trainings from one tape.

    ``rounding``: how far apart rounding may bring their costs, at each step; empty where that was not looked at.
    ``batches``: the steps of an epoch; ``test_examples``: how many there are.
    """

    seed: int
    first: Trained
    second: Trained
    rounding: Array
    batches: int
    test_examples: int


def pairs(
    recipes: Sequence[Recipe], seeds: Sequence[int], dtype: str, adapter: Adapter, told: Callable[[], None]
) -> Iterator[Pair]:
    """Both trainings for each seed, of initial weights, batch order and masks; the data are the same for all.

    ``told`` is called after each seed. Raises DataError where the data cannot be had.
    """
    for number, seed in enumerate(seeds):
        problem = prepare(recipes[0].model_copy(update={"seed": seed}), dtype)
        other = replace(problem, recipe=recipes[1].model_copy(update={"seed": seed}))
        moved = rounding(problem) if number < LOOKED_AT else np.zeros(0)
        first, second = (trained(adapter.session(each), each) for each in (problem, other))
        yield Pair(seed, first, second, moved, problem.batches_per_epoch, len(problem.test_x))
        told()


@np.errstate(all="ignore")  # a training may diverge
def trained(session: Session, problem: Problem) -> Trained:
    """The training of a problem by a session."""
    training = train(session, problem)
    return Trained(np.asarray(training.costs, np.float64), _accuracy(session, problem, training))


def _accuracy(session: Session, problem: Problem, training: Training) -> float:
    if not problem.recipe.decides_classes or not all(np.isfinite(w).all() for w in training.parameters.values()):
        return float("nan")
    classes = session.predict_classes(training.parameters, problem.test_x, training.statistics)
    return 100.0 * float(accuracy(problem.dataset.test_y.ravel(), np.asarray(classes).ravel()))


@np.errstate(all="ignore")
def rounding(problem: Problem) -> Array:
    """How far apart rounding may bring the costs of two that make the same training, at each step.

    As of a curve in a run: 8 times the largest difference so far of the reference from what computes in another order
    and from what rounds inputs and functions otherwise, and 16 units of roundoff of the largest cost so far.
    """
    reference = train(NumpySession(problem), problem).costs
    others = [train(Rerounded(problem, variant), problem).costs for variant in (REORDERED, JITTERED)]
    length = min(map(len, (reference, *others)))
    moved = np.max([np.abs(other[:length] - reference[:length]) for other in others], axis=0)
    units = ROUNDOFFS * problem.unit_roundoff * np.abs(reference[:length])
    allowed: Array = np.maximum.accumulate((FLOOR_FACTOR * moved + units).astype(np.float64))
    return allowed


def first_apart(pair: Pair) -> int:
    """The first step, from 1, at which the costs differ by more than rounding may bring; 0: none."""
    length = min(len(pair.rounding), len(pair.first.costs), len(pair.second.costs))
    with np.errstate(all="ignore"):
        near = np.abs(pair.first.costs[:length] - pair.second.costs[:length]) <= pair.rounding[:length]
    apart = np.flatnonzero(~near)
    return int(apart[0]) + 1 if len(apart) else 0
