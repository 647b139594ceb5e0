"""The situations in which a trace can be looked at: those that its tape asks about, or those of its own training.

A program that only dumps its own training has made its steps from its own states. So these are what the oracle starts
from, step by step, and nothing has to be run again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import State, TrainingState
from conformance.checks import case as cases
from conformance.checks.case import Case, Exercise, Point
from conformance.data.files import DataError
from conformance.exchange.trace import Trace
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors, cast_floats
from conformance.results.grammar import Tree

DOUBLE = np.dtype(np.float64)


def looked_at(trace: Trace, case: Case) -> Case:
    """The case with the situations that a trace can be looked at in. Raises DataError for a tape of other draws."""
    if trace.dtype != case.problem.working_dtype:
        return case
    require_same_tape(trace, case.problem)
    if trace.tape.get("ask") and trace.answers:
        asked = trace.tape["ask"]
        return replace(
            case, points=points(asked) or case.points, trajectory=tuple(steps(asked)), exercises=tuple(exercises(asked))
        )
    own = tuple(own_states(trace, case.problem))
    return replace(case, trajectory=own) if own else case


def questions(case: Case) -> Tree:
    """A case's situations as a tape asks about them."""
    return {
        "point": {
            step: {"parameter": point.parameters, "statistic": point.statistics} for step, point in case.points.items()
        },
        "step": {
            state.step: {"parameter": state.parameters, "slot": state.slots, "statistic": state.statistics}
            for state in case.trajectory
        },
        "exercise": {
            exercise.step: {
                "parameter": exercise.parameters, "gradient": exercise.gradients, "slot": exercise.slots,
            } for exercise in case.exercises
        },
    }  # fmt: skip


def points(asked: Tree) -> dict[int, Point]:
    """The points that a tape asks about."""
    return {step: Point(parts["parameter"], parts.get("statistic", {})) for step, parts in _by_step(asked, "point")}


def steps(asked: Tree) -> Iterator[TrainingState]:
    """The states before the steps that a tape asks about."""
    for step, parts in _by_step(asked, "step"):
        yield TrainingState(step, parts["parameter"], parts.get("slot", {}), parts.get("statistic", {}))


def exercises(asked: Tree) -> Iterator[Exercise]:
    """The single updates that a tape asks about."""
    for step, parts in _by_step(asked, "exercise"):
        yield Exercise(step, parts["parameter"], parts.get("slot", {}), parts["gradient"])


def own_states(trace: Trace, problem: Problem) -> Iterator[TrainingState]:
    """The states before steps of a trace's own training, as far as they are known from it.

    Parameters before a step are those after the step before it. Where it shows no optimizer state or running averages,
    these are the reference's, carried along on its own gradients and parameters; where it shows no gradients either,
    they cannot be, and the steps after that are not known.
    """
    reference, state = NumpySession(problem.in_float64()), cases.initial_state(problem)
    known = True
    slots: dict[str, Tensors] | None
    for step in range(1, problem.steps + 1):
        found = trace.steps.get(step, {})
        if known and found.keys() & {"gradient", "parameter", "slot", "statistic"}:
            yield state
        frozen = {name: w for name, w in state.parameters.items() if not problem.is_trained(name)}
        after = whole(frozen | found.get("parameter", {}), state.parameters)
        carried = _carried(reference, problem, state, found) if known else state
        slots = found["slot"] if _has_slots(found.get("slot"), state.slots) else carried.slots if carried else None
        known = after is not None and slots is not None
        if after is not None:
            statistics = whole(found.get("statistic"), state.statistics) or (carried or state).statistics
            state = TrainingState(step + 1, after, state.slots if slots is None else slots, statistics)


def whole(found: Mapping[str, Array] | None, like: Tensors) -> Tensors | None:
    """Tensors of the names and shapes of ``like``, if they are all there."""
    if found is None or not all(name in found and np.shape(found[name]) == w.shape for name, w in like.items()):
        return None
    return {name: found[name] for name in like}


def _has_slots(found: Mapping[str, Tensors] | None, like: dict[str, Tensors]) -> bool:
    return found is not None and all(whole(found.get(slot), w) is not None for slot, w in like.items())


def _carried(reference: NumpySession, problem: Problem, state: TrainingState, found: Tree) -> TrainingState | None:
    """What the reference makes of a state with the gradients that were found; None without them."""
    trained = problem.trained(state.parameters)
    slots = state.slots
    if state.slots:
        given = whole(found.get("clipped"), trained)
        gradients = given or whole(found.get("gradient"), trained)
        if gradients is None:
            return None
        gradients = cast_floats(gradients, DOUBLE)
        clipped = gradients if given else cases.clip(reference, problem, gradients)
        before = State(state.step - 1, {slot: cast_floats(w, DOUBLE) for slot, w in state.slots.items()})
        rate = cases.learning_rate(problem, state.step)
        made = reference.optimizer_step(cast_floats(trained, DOUBLE), clipped, before, rate)[1]
        slots = {slot: cast_floats(w, problem.dtype) for slot, w in made.slots.items()}
    statistics = state.statistics
    if statistics:
        batch = problem.batch(state.step - 1)
        statistics = cast_floats(
            NumpySession(problem).running_statistics(state.parameters, batch.x, batch.masks, statistics), problem.dtype
        )
    return TrainingState(state.step + 1, state.parameters, slots, statistics)


def require_same_tape(trace: Trace, problem: Problem) -> None:
    """Raise DataError unless a trace was made with the problem's own draws and for its recipe."""
    recipe = trace.facts.get("recipe", problem.recipe.hash)
    if recipe != problem.recipe.hash:
        raise DataError(f"{trace.path}: is of a recipe with the content hash {recipe}: must be {problem.recipe.hash}")
    last = max(trace.steps, default=0)
    if last > problem.steps:
        raise DataError(f"{trace.path}: holds step {last}: the recipe's training has {problem.steps}")
    given = {**_initial(trace.tape.get("initial", {}), "initial")}
    given |= _initial(trace.steps.get(0, {}).get("parameter", {}), "step/0/parameter")
    for (name, parameter), value in given.items():
        expected = problem.tape.initial_parameters.get(parameter)
        if expected is None or (value.dtype == expected.dtype and not np.array_equal(value, expected)):
            raise DataError(
                f"{trace.path}: {name} is not what the recipe's training begins with"
                f"{'' if expected is None else ', other numbers'}: must be the tape's initial/{parameter},"
                " as `conformance record` writes it"
            )


def _initial(found: Tensors, path: str) -> dict[tuple[str, str], Array]:
    return {(f"{path}/{name}", name): value for name, value in found.items()}


def _by_step(asked: Tree, group: str) -> Iterator[tuple[int, Any]]:
    yield from sorted((int(step), parts) for step, parts in asked.get(group, {}).items())
