"""The measured noise floor: how far honest rounding moves each tensor of a case, and where it may throw a switch.

The reference is run several times in the working precision, each time in a way that is equal in mathematics and differs
in rounding (``conformance/verdicts/rerounding.py``): with examples, input features and hidden units in another order,
so that every sum is taken in another order; with its inputs moved by about half a unit in the last place; with the
optimizer's scalars rounded to the working precision, as a framework that keeps them in tensors does; and with sums as a
graphics processor takes them. The largest error
of these runs against the float64 oracle is the noise floor; over the steps of a training it is steadied by its
neighbours, and of what is made by subtraction it is at least one rounding of what was subtracted from. What is 0 in
mathematics is seen beside the terms that cancel in it (``conformance/verdicts/cancelled.py``). Where the oracle
or any of these runs leaves the range of its precision there is none (``conformance/verdicts/ranges.py``). What the
check ``native`` sees of random draws has no floor: it brings with it the range that chance leaves it.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.problems.tensors import Array
from conformance.verdicts.cancelled import beside_their_terms
from conformance.verdicts.compare import Errors, Expectation, measure_noise
from conformance.verdicts.events import free_running_events, local_events
from conformance.verdicts.ranges import doubted, fitted, is_beyond, overflown
from conformance.verdicts.rerounding import ALL_MOVED, REORDERED, VARIANTS, Rerounded

LONG = ("initialization", "teacher_forced", "free_running")  # checks that see the same tensor at several steps
LOCAL = ("gradients", "teacher_forced")  # checks of what a single step computes from what it is given
SAMPLED = "native"  # the check that tells itself how far chance may move what it sees
NEIGHBOURS = 10  # steps on either side

# What the differences that L-BFGS keeps are made of.
_CHANGES = {"parameter_change": "previous_parameter", "gradient_change": "previous_gradient"}

Expectations = dict[str, list[Expectation]]


@np.errstate(all="ignore")  # a training may diverge
def measure(case: Case) -> Expectations:
    """For each check, what the oracle saw and how far the re-rounded references were from it."""
    asked, case = (
        case.in_float64(),
        replace(case, problem=case.problem.fit_once()),
    )  # expected is the training as a whole
    double = case.in_float64()
    oracle = NumpySession(double.problem)
    variants = [Rerounded(case.problem, variant) for variant in range(len(VARIANTS))]
    local = local_events(case, (oracle, *variants))
    # Trainings are long, so the oracle is accompanied by two of the variants alone: by one in another order, and by the
    # one in which everything is moved.
    cumulative = free_running_events(case, (oracle, variants[REORDERED], variants[ALL_MOVED]))
    found = {}
    for check, observe in CHECKS.items():
        if check == SAMPLED:
            found[check] = [of_chance(case, o) for o in observe(oracle, asked)]
            continue
        oracles = list(observe(oracle, double))
        runs = [{o.key: o for o in observe(variant, case)} for variant in variants]
        fitting = [[fitted(run.get(o.key), o) for run in runs] for o in oracles]
        shares = [overflown(o, found) for o, found in zip(oracles, fitting, strict=True)]
        floors = [_floor(*found) for found in zip(oracles, fitting, shares, strict=True)]
        if check in LOCAL:
            oracles = beside_their_terms(oracles, floors, case.problem.unit_roundoff)
            floors = [_floor(*found) for found in zip(oracles, fitting, shares, strict=True)]
        events = {"initialization": {}, "free_running": cumulative}.get(check, local)
        if check == "gradients":
            floors = _among_batches(oracles, floors)
        if check in LONG:
            floors = _steadied(oracles, floors)
            floors = _carried(case, oracles, floors, accumulated=check == "free_running")
        found[check] = [
            Expectation(o, floor, events, case.problem.unit_roundoff, case.problem.dtype, share)
            for o, floor, share in zip(oracles, floors, doubted(oracles, shares, _lost(case, check)), strict=True)
        ]
    return found


def of_chance(case: Case, oracle: Observation) -> Expectation:
    """What is expected of a sample: it lies in a range that theory gives, and no rounding moves it."""
    return Expectation(oracle, np.zeros(1), {}, case.problem.unit_roundoff, case.problem.dtype)


def _steadied(oracles: list[Observation], floors: list[Errors]) -> list[Errors]:
    """Floors of a training's many tensors and steps, none of them below the median of its neighbours'.

    Neighbours are the same tensor at the steps around, then the tensors of the same stage at the same step. In a tensor
    of one number seven runs can all come out near the oracle by luck, and among thousands of tensors and steps some do.
    """
    by_tensor: dict[tuple[str, str], list[int]] = {}
    for place, (key, *_) in enumerate(oracles):
        by_tensor.setdefault((key.stage, key.tensor), []).append(place)
    steadied = list(floors)
    for places in by_tensor.values():
        own = np.concatenate([floors[place] for place in places])
        numbers = own.tolist()
        medians = [_median(numbers[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]) for i in range(len(own))]
        steps = np.maximum(own, medians)
        sizes = np.cumsum([floors[place].size for place in places])[:-1]
        for place, floor in zip(places, np.split(steps, sizes), strict=True):
            steadied[place] = floor
    by_stage: dict[tuple[str, int], list[int]] = {}
    for place, (key, *_) in enumerate(oracles):
        if key.kind == "tensor":
            by_stage.setdefault((key.stage, key.step), []).append(place)
    _raise_to_median(steadied, by_stage.values())
    return steadied


def _among_batches(oracles: list[Observation], floors: list[Errors]) -> list[Errors]:
    """Floors of gradients, none of them below the median of the same parameter's on the other batches of the epoch.

    What is left of a sum over few examples, where they nearly cancel, can come out near the oracle in all runs by luck.
    """
    by_parameter: dict[tuple[int, str], list[int]] = {}
    for place, (key, *_) in enumerate(oracles):
        by_parameter.setdefault((key.step, key.name), []).append(place)
    steadied = list(floors)
    _raise_to_median(steadied, by_parameter.values())
    return steadied


def _raise_to_median(floors: list[Errors], groups: Iterable[list[int]]) -> None:
    """Leave no floor of a group below the group's median: the lower one of an even number.

    So that, of four, two that are ill-conditioned do not speak for the others.
    """
    for places in groups:
        median = _median([float(floors[place][0]) for place in places], lower=True)
        if not math.isnan(median):
            for place in places:
                floors[place] = np.maximum(floors[place], median)


def _median(numbers: Sequence[float], lower: bool = False) -> float:
    """The median of those of a few numbers that are known, ``lower``: of the two in the middle the lower one."""
    known = [number for number in numbers if not math.isnan(number)]
    if not known:
        return math.nan
    return statistics.median_low(known) if lower else statistics.median(known)


def _carried(case: Case, oracles: list[Observation], floors: list[Errors], accumulated: bool) -> list[Errors]:
    """Floors of a training's tensors, none of them below one rounding of what the tensor is made of by subtraction.

    A parameter is made of what it was before, and where steps cancel one another, nothing else may be left of it; the
    differences that L-BFGS keeps are made of two parameters or two gradients. ``accumulated``: over all the steps
    before, since the rounding of a parameter stays in it; else the step alone.
    """
    before: dict[int, dict[str, float]] = {}
    sizes: dict[str, float] = {}
    for state in case.trajectory:
        operands = state.parameters | {
            f"{slot} of {name}": w for slot in _CHANGES.values() for name, w in state.slots.get(slot, {}).items()
        }
        sizes = {name: max(_size(w), sizes.get(name, 0.0) * accumulated) for name, w in operands.items()}
        before[state.step] = sizes
    carried = []
    for oracle, floor in zip(oracles, floors, strict=True):
        key, operand = oracle.key, _operand(oracle.key)
        if operand is not None:
            own, was = (
                oracle.scale or _size(oracle.value),
                before[max(step for step in before if step <= key.step)][operand],
            )
            if (
                np.isfinite(was) and was > own and (own or key.stage == "parameter")
            ):  # a difference of 0 is one that has not been made yet
                floor = np.maximum(floor, case.problem.unit_roundoff * was / own if own else np.inf)
        carried.append(floor)
    return carried


def _operand(key: Key) -> str | None:
    """The tensor, among those before the step, that this one is made of by subtraction."""
    if key.stage == "parameter":
        return key.name
    changed = next((operand for change, operand in _CHANGES.items() if key.slot.startswith(change)), None)
    return f"{changed} of {key.name}" if changed else None


def _size(tensor: Array) -> float:
    return float(np.abs(tensor).max(initial=0.0))


def informative_steps(expectations: Expectations) -> int:
    """How many steps of the free-running training say something: those before an event or a floor above the limit."""
    (cost,) = (e for e in expectations["free_running"] if e.observation.key.tensor == "cost")
    steps = np.size(cost.observation.value)
    silent = [step for step in range(1, steps + 1) if step in cost.events or not cost.floor[step - 1] <= cost.limit]
    return min(silent, default=steps + 1) - 1


def _floor(oracle: Observation, runs: list[Observation], shares: Errors) -> Errors:
    """The largest error of the runs; NaN where any of them, or the oracle, leaves the range."""
    noise: Errors = np.maximum.reduce([measure_noise(run, oracle) for run in runs])
    return np.where((shares > 0) | is_beyond(oracle), np.nan, noise)


def _lost(case: Case, check: str) -> set[int]:
    """The steps of a check at which what is given to all is not finite, since the oracle's training has diverged."""
    if check in ("initialization", "free_running"):
        return set()
    given: dict[str, dict[int, Any]] = {
        "teacher_forced": {state.step: state for state in case.trajectory},
        "update": {exercise.step: exercise for exercise in case.exercises},
    }
    situations = given.get(check, dict(case.points))
    return {step for step, situation in situations.items() if not _is_finite(situation._asdict())}


def _is_finite(tree: Any) -> bool:
    if isinstance(tree, dict):
        return all(map(_is_finite, tree.values()))
    return bool(np.isfinite(tree).all())
