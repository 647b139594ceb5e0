"""The ceiling: how little a fault that a check must catch would move what the check looks at.

Every mutant that concerns a recipe is planted in the reference, which then computes in float64: what moves is the fault
itself, not rounding. A mutant is seen by the tensors that it moves beyond their allowance, and is a candidate for the
ceiling of each of them; the candidate that moves a tensor least is its ceiling. If a mutant that a check must catch
moves something, but nothing beyond its allowance, the tensor nearest to it has a ceiling below its allowance: there the
check cannot tell right from wrong, and its record says so.
"""

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from conformance.allowance import Expectations
from conformance.case import Case
from conformance.checks import CHECKS
from conformance.compare import Ceiling, Expectation, Observation, measure_errors
from conformance.mutants import MUTANTS, reference_with
from conformance.record import LADDER

# A fault that leaves half of the digits of everything as they were, in float64, is none for this recipe.
EFFECT = float(np.sqrt(np.finfo(np.float64).eps / 2))

# Of the checks that must catch a mutant, the first on the ladder are asked; what comes later sees the same fault grown.
FIRST = 2

Place = tuple[str, str]  # stage and tensor
Ceilings = dict[str, dict[Place, Ceiling]]


def measure(case: Case, expectations: Expectations) -> Ceilings:
    """For each check, the ceilings of the tensors by which it catches the mutants that it must catch."""
    double = _shortened(case.in_float64())
    ceilings: Ceilings = {check: {} for check in CHECKS}
    for mutant in MUTANTS:
        if case.problem.dtype.name in mutant.dtypes and mutant.concerns(case.problem.recipe):
            session = reference_with(mutant.name).session(double.problem)
            for check in sorted(mutant.checks, key=LADDER.index)[:FIRST]:
                try:
                    with np.errstate(all="ignore"):  # a fault may divide by 0
                        moved = _moved(CHECKS[check](session, double), expectations[check])
                except Exception:  # whatever it is: such a fault cannot be overlooked
                    continue
                for place, ratio in moved.items():
                    nearest = ceilings[check].get(place)
                    if nearest is None or ratio < nearest.ratio:
                        ceilings[check][place] = Ceiling(ratio, mutant.name)
    return ceilings


def _shortened(case: Case) -> Case:
    """The case with the first, the middle and the last step of its trajectory alone: a fault shows in one of them."""
    places = sorted({0, len(case.trajectory) // 2, len(case.trajectory) - 1})
    return replace(case, trajectory=tuple(case.trajectory[place] for place in places))


def _moved(observations: Iterable[Observation], expected: list[Expectation]) -> dict[Place, float]:
    """By how many allowances a fault moves the tensors by which it is seen, or the one by which it nearly is."""
    observed = {observation.key: observation for observation in observations}
    largest, ratios = 0.0, dict[Place, float]()
    for expectation in expected:
        key, oracle = expectation.observation.key, expectation.observation
        found, place = observed.get(key), (key.stage, key.tensor)
        if found is None:
            continue  # of a step that is left out
        if np.shape(found.value) != np.shape(oracle.value) or not np.isfinite(found.value).all():
            largest = ratios[place] = np.inf  # nobody overlooks this
            continue
        errors = np.nan_to_num(measure_errors(found, oracle), nan=np.inf)
        floor, allowance = np.broadcast_arrays(expectation.floor, expectation.allowance)
        steps = key.step + np.arange(errors.size)
        told = (floor <= expectation.limit) & [step not in expectation.events for step in steps]
        if told.any():
            largest = max(largest, float(errors[told].max()))
            ratios[place] = max(ratios.get(place, 0.0), float((errors / allowance)[told].max()))
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
