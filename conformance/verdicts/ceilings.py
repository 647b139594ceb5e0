"""The ceiling: how little a fault that a check must catch would move what the check looks at.

Every mutant that concerns a recipe is planted in the reference, which then computes in float64: what moves is the fault
itself, not rounding. A mutant is seen by the tensors that it moves beyond their allowance, and is a candidate for the
ceiling of each of them; the candidate that moves a tensor least is its ceiling. If a mutant that a check must catch
moves something, but nothing beyond its allowance, the tensor nearest to it has a ceiling below its allowance: there the
check cannot tell right from wrong, and its record says so.

What is kept of this is a :class:`Bound`: the fault, and the error that it makes at the step where it shows most. That
depends on no machine's rounding; the ratio to the allowance is taken where the allowance was measured.
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
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.problem import Problem
from conformance.recipes.recipe import Recipe
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


class Bound(NamedTuple):
    """What a fault does to a tensor: the relative ``error``, to ten digits, it makes at ``step``, where it shows most.

    ``most``: no other tensor of the check showed the fault more, and all that it does was seen.
    """

    fault: str
    step: int
    error: float
    most: bool


Bounds = dict[str, dict[Place, Bound]]


class Measured(NamedTuple):
    """What is known of a case: the bounds of its tensors, and the faults that some tensor shows, by name and sorted."""

    bounds: Bounds
    seen: tuple[str, ...]


def above(expectations: Expectations, bounds: Bounds) -> Ceilings:
    """For each check, the ceilings that ``bounds`` give where these expectations were measured.

    A fault that stays below an allowance is none of its ceilings if another tensor of the check shows it more. Raises
    KeyError for a bound of a tensor or a step that is not expected.
    """
    ceilings: Ceilings = {check: {} for check in expectations}
    for check, found in bounds.items():
        allowances = _allowances(expectations[check])
        for place, bound in found.items():
            allowance = allowances[place, bound.step]
            ratio = bound.error / allowance if bound.error < np.inf else np.inf
            if ratio >= 1 or bound.most:
                ceilings[check][place] = Ceiling(ratio, bound.fault)
    return ceilings


def _allowances(expected: list[Expectation]) -> dict[tuple[Place, int], float]:
    found = {}
    for expectation in expected:
        key = expectation.observation.key
        for place, allowance in enumerate(np.atleast_1d(expectation.allowance).tolist()):
            found[(key.stage, key.tensor), key.step_of(place)] = allowance
    return found


def measure(case: Case, expectations: Expectations) -> Bounds:
    """For each check, the bounds of the tensors by which it catches the mutants that it must catch."""
    return measure_all(case, expectations).bounds


def measure_all(case: Case, expectations: Expectations) -> Measured:
    """The bounds, and which of the mutants are seen."""
    double = _shortened(case.in_float64())
    nearest: dict[str, dict[Place, tuple[float, Bound]]] = {check: {} for check in CHECKS}
    seen = set[str]()
    whole = double.problem.steps == case.problem.steps
    sights = {check: _sights(expected, double.problem) for check, expected in expectations.items()}
    for mutant in concerning(case.problem.recipe, case.problem.dtype.name):
        for check in asked(mutant):
            try:
                session = reference_with(mutant.name).session(double.problem)
                with np.errstate(all="ignore"):  # a fault may divide by 0
                    moved = _moved(CHECKS[check](session, double), sights[check])
            except Exception:  # whatever it is: such a fault cannot be overlooked
                seen.add(mutant.name)
                continue
            complete = check != "free_running" or whole
            if not complete:  # what does not show yet may show later
                moved = {place: shift for place, shift in moved.items() if shift.ratio > 1}
            largest = max((shift.ratio for shift in moved.values()), default=0.0)
            seen |= {mutant.name} if largest > 1 else set()
            for place, (ratio, step, error) in moved.items():
                if place not in nearest[check] or ratio < nearest[check][place][0]:
                    bound = Bound(mutant.name, step, float(f"{error:.10g}"), complete and ratio == largest)
                    nearest[check][place] = (ratio, bound)
    bounds = {check: {place: b for place, (_, b) in found.items()} for check, found in nearest.items() if found}
    return Measured(bounds, tuple(sorted(seen)))


def concerning(recipe: Recipe, dtype: str) -> list[Mutant]:
    """The mutants that matter to a recipe in a precision."""
    return [mutant for mutant in MUTANTS if dtype in mutant.dtypes and mutant.concerns(recipe)]


def asked(mutant: Mutant) -> list[str]:
    """The checks that are asked about a mutant."""
    return sorted(mutant.checks, key=LADDER.index)[:FIRST]


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
            end = problem.steps // key.stride
            oracle, floor, allowance = oracle._replace(value=oracle.value[:end]), floor[:end], allowance[:end]
        quiet = [step not in expectation.events for step in map(key.step_of, range(floor.size))]
        found[key] = _Sight(oracle, allowance, (floor <= expectation.limit) & quiet)
    return found


class _Shift(NamedTuple):
    """How far a fault moves a tensor at the step where it shows most: in allowances, and as a relative error."""

    ratio: float
    step: int
    error: float


def _moved(observations: Iterable[Observation], sights: Mapping[Key, _Sight]) -> dict[Place, _Shift]:
    """How far a fault moves the tensors by which it is seen, or the one by which it nearly is."""
    largest, shifts = 0.0, dict[Place, _Shift]()
    for found in observations:
        sight, place = sights.get(found.key), (found.key.stage, found.key.tensor)
        if sight is None or np.array_equal(found.value, sight.oracle.value, equal_nan=found.key.kind != "decision"):
            continue
        error, shift = _shift(found, sight)
        largest = max(largest, error)
        if shift is not None and (place not in shifts or shift.ratio > shifts[place].ratio):
            shifts[place] = shift
    if largest <= EFFECT:
        return {}
    seen = {place: shift for place, shift in shifts.items() if shift.ratio > 1}
    nearest = max(shifts, key=lambda place: shifts[place].ratio)
    return seen or {nearest: shifts[nearest]}


def _shift(found: Observation, sight: _Sight) -> tuple[float, _Shift | None]:
    """The largest error of one observation at the steps that tell right from wrong, and its shift; of none, 0 and None.

    What is no number, or of another shape, nobody overlooks anywhere, but where the reference leaves the range too.
    """
    oracle, value, key = sight.oracle.value, np.asarray(found.value), found.key
    if value.shape != np.shape(oracle):
        return np.inf, _Shift(np.inf, key.step, np.inf)
    lost = ~np.isfinite(value) & np.isfinite(oracle) & ~np.isnan(sight.allowance)
    if lost.any():
        return np.inf, _Shift(np.inf, key.step_of(int(np.argmax(lost))), np.inf)
    if not sight.telling.any():
        return 0.0, None
    errors = measure_errors(found, sight.oracle)
    errors = np.where(np.isnan(errors), np.inf, errors)
    ratios = np.where(sight.telling, errors / sight.allowance, -1.0)
    place = int(np.argmax(ratios))
    shift = _Shift(float(ratios[place]), key.step_of(place), float(errors[place]))
    return float(errors[sight.telling].max()), shift


def pack(ceilings: Ceilings) -> str:
    """Ceilings as text."""
    return json.dumps({check: [[*place, *c] for place, c in found.items()] for check, found in ceilings.items()})


def unpack(text: str) -> Ceilings:
    """The inverse of :func:`pack`."""
    return {
        check: {(stage, tensor): Ceiling(ratio, fault) for stage, tensor, ratio, fault in rows}
        for check, rows in json.loads(text).items()
    }
