"""The ceiling: how little a fault that a check must catch would move what the check looks at.

Every mutant that concerns a recipe is planted in the reference, which then computes in float64: what moves is the fault
itself, not rounding. A mutant is seen by the tensors that it moves beyond their allowance, and is a candidate for the
ceiling of each of them; the candidate that moves a tensor least is its ceiling. If a mutant that a check must catch
moves something, but nothing beyond its allowance, the tensor nearest to it has a ceiling below its allowance: there the
check cannot tell right from wrong, and its record says so.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.checks import CHECKS
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.problem import Problem
from conformance.verdicts.compare import Ceiling, Errors, Expectation, measure_errors
from conformance.verdicts.floors import Expectations
from conformance.verdicts.order import LADDER

# A fault that leaves half of the digits of everything as they were, in float64, is none for this recipe.
EFFECT = float(np.sqrt(np.finfo(np.float64).eps / 2))

# Of the checks that must catch a mutant, the first on the ladder are asked; what comes later sees the same fault grown.
FIRST = 2

# A training is followed for the fewest epochs that make as many steps, if it has as many.
STEPS = 100

Place = tuple[str, str]  # stage and tensor
Ceilings = dict[str, dict[Place, Ceiling]]


def measure(case: Case, expectations: Expectations) -> Ceilings:
    """For each check, the ceilings of the tensors by which it catches the mutants that it must catch."""
    double = _shortened(case.in_float64())
    ceilings: Ceilings = {check: {} for check in CHECKS}
    whole = double.problem.steps == case.problem.steps
    sights = {check: _sights(expected, double.problem) for check, expected in expectations.items()}
    for mutant in MUTANTS:
        if case.problem.dtype.name in mutant.dtypes and mutant.concerns(case.problem.recipe):
            session = reference_with(mutant.name).session(double.problem)
            for check in sorted(mutant.checks, key=LADDER.index)[:FIRST]:
                try:
                    with np.errstate(all="ignore"):  # a fault may divide by 0
                        moved = _moved(CHECKS[check](session, double), sights[check])
                except Exception:  # whatever it is: such a fault cannot be overlooked
                    continue
                if check == "free_running" and not whole:  # what does not show yet may show later
                    moved = {place: ratio for place, ratio in moved.items() if ratio > 1}
                for place, ratio in moved.items():
                    nearest = ceilings[check].get(place)
                    if nearest is None or ratio < nearest.ratio:
                        ceilings[check][place] = Ceiling(ratio, mutant.name)
    return ceilings


def _shortened(case: Case) -> Case:
    """The case with the first, the middle and the last step of its trajectory alone: a fault shows in one of them.

    Of a long training the first epochs.
    """
    places = sorted({0, len(case.trajectory) // 2, len(case.trajectory) - 1})
    problem = case.problem
    epochs = min(problem.recipe.epochs, -(-STEPS // problem.batches_per_epoch))
    shorter = replace(problem, recipe=problem.recipe.model_copy(update={"epochs": epochs}))
    return replace(case, problem=shorter, trajectory=tuple(case.trajectory[place] for place in places))


class _Sight(NamedTuple):
    """What is expected of a tensor, with the steps at which it can tell right from wrong: not where it is all noise."""

    oracle: Observation
    allowance: Errors
    telling: NDArray[np.bool_]


def _sights(expected: list[Expectation], problem: Problem) -> dict[Key, _Sight]:
    """What is expected of each tensor; of a curve, as far as the training of ``problem`` goes."""
    found = {}
    for expectation in expected:
        oracle, key = expectation.observation, expectation.observation.key
        floor, allowance = np.broadcast_arrays(np.atleast_1d(expectation.floor), expectation.allowance)
        if key.kind == "curve":
            end = problem.recipe.epochs if key.tensor == "validation cost" else problem.steps
            oracle, floor, allowance = oracle._replace(value=oracle.value[:end]), floor[:end], allowance[:end]
        quiet = [step not in expectation.events for step in range(key.step, key.step + floor.size)]
        found[key] = _Sight(oracle, allowance, (floor <= expectation.limit) & quiet)
    return found


def _moved(observations: Iterable[Observation], sights: Mapping[Key, _Sight]) -> dict[Place, float]:
    """By how many allowances a fault moves the tensors by which it is seen, or the one by which it nearly is."""
    largest, ratios = 0.0, dict[Place, float]()
    for found in observations:
        sight, place = sights.get(found.key), (found.key.stage, found.key.tensor)
        if sight is None or np.array_equal(found.value, sight.oracle.value):
            continue
        if np.shape(found.value) != np.shape(sight.oracle.value) or not np.isfinite(found.value).all():
            largest = ratios[place] = np.inf  # nobody overlooks this
            continue
        errors = measure_errors(found, sight.oracle)
        errors = np.where(np.isnan(errors), np.inf, errors)[sight.telling]
        if errors.size:
            largest = max(largest, float(errors.max()))
            ratio = float((errors / sight.allowance[sight.telling]).max())
            ratios[place] = max(ratios.get(place, 0.0), ratio)
    if largest <= EFFECT:
        return {}
    seen = {place: ratio for place, ratio in ratios.items() if ratio > 1}
    nearest = max(ratios, key=ratios.__getitem__)
    return seen or {nearest: ratios[nearest]}


def pack(ceilings: Ceilings) -> str:
    """Ceilings as text."""
    return json.dumps({check: [[*place, *c] for place, c in found.items()] for check, found in ceilings.items()})


def unpack(text: str) -> Ceilings:
    """The inverse of :func:`pack`."""
    return {
        check: {(stage, tensor): Ceiling(ratio, fault) for stage, tensor, ratio, fault in rows}
        for check, rows in json.loads(text).items()
    }
